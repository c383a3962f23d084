"""Results of the steps of reproduce.py, as tables, figures and one report."""
