"""Prints the worst relative error of each group against the golden numbers of the official code.

python -m benchmarks.golden_errors [DIRECTORY [DEVICE]]    the folder of golden files (tests/data), cpu or cuda (cpu)
"""

import sys
from pathlib import Path

import torch

from stylegan2ada import losses
from stylegan2ada.augment import AugmentPipe
from stylegan2ada.ops import bias_act, conv2d_resample, modulated_conv2d, setup_filter, upfirdn2d
from tests.golden import Golden, relative_error
from tests.stylegan2ada.test_golden_networks import STORED_ELEMENTS, Networks

Errors = dict[str, tuple[float, str]]


def main(directory: Path, device: str = "cpu") -> None:
    torch.backends.cudnn.allow_tf32 = False  # torch's default would round what convolutions read
    errors: Errors = {}
    operators(errors, Golden(directory, "ops", device))
    augmentations(errors, Golden(directory, "augment", device), device)
    for name in ("cond32", "uncond64"):
        if (directory / f"{name}.npz").exists():
            networks(errors, Networks(directory, name, device))
    for group, (error, where) in errors.items():
        print(f"{group:<44} {error:8.1e}   worst at {where}")


def note(errors: Errors, group: str, where: str, ours: torch.Tensor, golden: torch.Tensor) -> None:
    error = relative_error(ours, golden)
    if group not in errors or error > errors[group][0]:
        errors[group] = error, where


def operators(errors: Errors, golden: Golden) -> None:
    for case in golden.cases:
        key, op = case["id"], case["op"]
        inputs = {
            name: golden[f"{key}/{name}"].requires_grad_()
            for name in ("x", "w", "styles", "b")
            if f"{key}/{name}" in golden
        }
        results = {"y": run_operator(golden, case, inputs)}
        if op == "bias_act":
            results |= second_order(golden, key, results["y"], inputs)
        else:
            gradients = torch.autograd.grad(results["y"], list(inputs.values()), golden[f"{key}/dy"])
            results |= {f"d{name}": gradient for name, gradient in zip(inputs, gradients, strict=True)}
        for name, value in results.items():
            order = {"y": "value", "d_dy": "second gradients", "d_x": "second gradients"}.get(name, "gradients")
            note(errors, f"{op}, {order}", f"{key}/{name}", value, golden[f"{key}/{name}"])


def run_operator(golden: Golden, case: dict, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    key, x = case["id"], inputs["x"]
    if case["op"] == "upfirdn2d":
        f = setup_filter(case["raw_filter"]).to(x.device)
        return upfirdn2d(x, f, case["up"], case["down"], case["padding"], case["flip_filter"], case["gain"])
    if case["op"] == "bias_act":
        return bias_act(x, inputs["b"], case["dim"], case["act"], case["alpha"], case["gain"], case["clamp"])
    f = golden[f"{key}/f"]
    if case["op"] == "conv2d_resample":
        return conv2d_resample(
            x, inputs["w"], f, case["up"], case["down"], case["padding"], case["groups"], case["flip_weight"]
        )
    noise = golden[f"{key}/noise"] if f"{key}/noise" in golden else None
    return modulated_conv2d(
        x, inputs["w"], inputs["styles"], noise, case["up"], padding=case["padding"], resample_filter=f,
        demodulate=case["demodulate"], flip_weight=case["flip_weight"],
    )  # fmt: skip


def second_order(golden: Golden, key: str, y: torch.Tensor, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    dy = golden[f"{key}/dy"].requires_grad_()
    dx, db = torch.autograd.grad(y, [inputs["x"], inputs["b"]], dy, create_graph=True)
    d_dy, d_x = torch.autograd.grad((dx * golden[f"{key}/ddx"]).sum(), [dy, inputs["x"]], materialize_grads=True)
    return {"dx": dx, "db": db, "d_dy": d_dy, "d_x": d_x}


def augmentations(errors: Errors, golden: Golden, device: str) -> None:
    for case in golden.cases:
        pipe = AugmentPipe(**dict.fromkeys(case["transforms"], 1)).to(device)
        ours = pipe(golden[case["images"]], debug_percentile=case["debug_percentile"])
        note(errors, "augmentations", f"{case['id']} {'+'.join(case['transforms'])[:40]}", ours, golden[case["id"]])


def networks(errors: Errors, n: Networks) -> None:
    name, golden = n.case["name"], n.golden
    ws = n.G.mapping(n.z, n.c)
    fake, real = n.fake(), golden["real"].requires_grad_()
    fake_logits, real_logits = n.D(fake.detach(), n.c), n.D(real, n.c)
    images = {"image_const": fake, "image_none": n.G(n.z, n.c, noise_mode="none")}
    latents = {"ws": ws, "ws_psi0.6": n.G.mapping(n.z, n.c, truncation_psi=0.6)}
    for key, value in (images | latents | {"logits": fake_logits, "logits_real": real_logits}).items():
        note(errors, f"{name}, latents, images, logits", key, value, golden[key])

    lengths = losses.path_lengths(n.G.synthesis(ws, noise_mode="const"), ws, golden["pl_noise"])
    groups = {
        "Gmain": (n.G, losses.generator_loss(n.D(fake, n.c)).mean()),
        "Dmain": (n.D, losses.fake_loss(fake_logits).mean() + losses.real_loss(real_logits).mean()),
        "Dr1_gamma10": (n.D, (losses.r1_penalty(real, real_logits) * 5).mean()),
        "Gpl": (n.G, ((lengths - 0.5).square() * 2).mean()),
    }
    for group, (network, loss) in groups.items():
        names, parameters = zip(*network.named_parameters(), strict=True)
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True, allow_unused=True)
        for parameter, gradient in zip(names, gradients, strict=True):
            stored = golden[f"grad/{group}/{parameter}"]
            if stored.any():
                gradient = gradient.norm().reshape(stored.shape) if gradient.numel() > STORED_ELEMENTS else gradient
                note(errors, f"{name}, {group}, every parameter gradient", parameter, gradient, stored)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "tests" / "data", *sys.argv[2:3])
