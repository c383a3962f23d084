"""Official StyleGAN2-ADA snapshots (`.pkl`): read without executing anything, written so that official code loads them.

`python -m stylegan2ada.legacy IN OUT` converts. Lowest module first: `machine` runs the instructions of a pickle,
`tensors` and `vocabulary` are all that it may build, `settings` translates constructor arguments, `reader`, `writer`.
"""
