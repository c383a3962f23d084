"""A folder of step results as reproduce.py leaves them, drawn from random numbers with known effects."""

import csv
import json
from pathlib import Path

import numpy as np
import PIL.Image
import sklearn.metrics

from spine_ext.vindr import LESION_CLASSES

COUNTS = {"500": 200, "1600": 640, "10000": 2700}
GAMMAS = {"stylegan2-ada": 0.0, "spinegan": 0.01, "spinegan-gamma0.05": 0.05, "multiconditional": 0.0}


class MadeUpRun:
    """Writes steps into a folder. `test_images`: per class."""

    def __init__(self, folder: Path, test_images: int = 100, seeds: int = 3, kimg: float = 20.0) -> None:
        self.folder, self.seeds, self.kimg = folder, seeds, kimg
        self.random = np.random.default_rng(0)
        self.labels = np.repeat([0, 1], test_images)
        self.studies = np.arange(2 * test_images) // 2
        self.shared = self.random.normal(size=2 * test_images)
        (folder / "steps").mkdir(parents=True)

    def step(self, name: str, kind: str, result: dict, seconds: float = 60.0) -> Path:
        path = self.folder / "steps" / f"{name}.json"
        record = {"step": name, "kind": kind, "started": "2026-11-22T16:00:00+00:00", "seconds": seconds}
        path.write_text(json.dumps({**record, "settings": {}, "result": result}))
        return path

    def settings(self) -> None:
        values = {
            "preset": "phantom", "seeds": self.seeds, "counts": COUNTS, "kimg": self.kimg, "paper_kimg": 4200,
            "ablation_kimg": 4, "classifier_epochs": 8, "epochs_paper": 30,
        }  # fmt: skip
        (self.folder / "reproduction.json").write_text(json.dumps(values))
        versions = {"python": "3.11.2", "torch": "2.13.0", "machine": {"cpu": "2 cores"}, "command": ["reproduce.py"]}
        (self.folder / "environment.json").write_text(json.dumps(versions))

    def data(self) -> None:
        split = {"images": 1470, "by_class": [742, 728], "studies": 905}
        lesions = {"images": 1100, "by_class": [742, 51, 51, 51, 51, 51, 51, 52], "studies": None}
        self.step("data", "data", {
            "name": "phantom1-1500-1500-seed0", "notice": "built-in phantom: drawn shapes, not clinical data",
            "resolution_px": 64, "class_names": ["normal", "abnormal"], "train": split, "test": split,
            "lesions": {"class_names": list(LESION_CLASSES), "train": lesions, "test": lesions},
        }, 95.0)  # fmt: skip

    def gan(self, variant: str, seed: int, kimg: float, speed: float = 1.0) -> None:
        stats = []
        for tick in np.arange(0.5, kimg + 0.01, 0.5):
            noise = self.random.normal(0, 0.06, 3)
            line = {"kimg": tick, "Loss/G/loss": 1.1 + 1.5 * np.exp(-tick / 3) + noise[0],
                    "Loss/D/loss": 1.2 - 0.3 * np.exp(-tick / 4) + noise[1], "Progress/augment": 0.0,
                    "Timing/sec_per_kimg": 18.0}  # fmt: skip
            if GAMMAS[variant]:
                line["Loss/G/clinical"] = 0.3 + 3 * np.exp(-tick / 2) + abs(noise[2])
            stats.append(line)
        self.step(f"gan-{variant}-seed{seed}", "gan", {
            "variant": variant, "seed": seed, "kimg": kimg, "gamma_clinical": GAMMAS[variant],
            "run": "00000",
            "snapshots": [{"kimg": kimg, "file": "x.safetensors"}], "augment": "noaug", "stats": stats,
            "config": {"batch": 16, "loss": {"gamma": 1.0}},
        }, 310.0)  # fmt: skip
        series = []
        for at in [k for k in (0, 4, 8, 12, 16, 20) if k <= kimg]:
            left = np.exp(-speed * at / 6)
            noise = self.random.normal(0, 0.02, 4)
            series.append({
                "kimg": float(at), "fid": 9 + 110 * left + 30 * abs(noise[0]), "kid": 0.3 * left + abs(noise[1]),
                "precision": 0.55 * (1 - left) + abs(noise[2]), "recall": 0.22 * (1 - left) + abs(noise[3]) / 2,
                "density": 0.6 * (1 - left), "coverage": 0.4 * (1 - left),
            })  # fmt: skip
        self.metrics(variant, seed, series)

    def metrics(self, variant: str | None, seed: int | None, series: list[dict]) -> None:
        name = "metrics-real" if variant is None else f"metrics-{variant}-seed{seed}"
        detector = {"name": "classifier", "sha256": "ab" * 32, "note": "features of the classifier, not Inception"}
        self.step(name, "metrics", {"variant": variant, "seed": seed, "detector": detector, "num_real": 1470,
                                    "num_fake": 1500, "series": series}, 48.0)  # fmt: skip

    def real_metrics(self) -> None:
        self.metrics(None, None, [{"kimg": None, "fid": 1.42, "kid": 0.0007, "precision": 0.81, "recall": 0.80,
                                   "density": 0.99, "coverage": 0.96}])  # fmt: skip

    def auc(self, row: str, variant: str | None, synthetic: int, seed: int, d_prime: float, real: int = 1470,
            order: str = "joined") -> None:  # fmt: skip
        own = self.random.normal(size=len(self.labels))
        d_prime += self.random.normal(0, 0.05)
        scores = 1 / (1 + np.exp(-(d_prime * (self.labels - 0.5) + 0.8 * self.shared + 0.6 * own)))
        predictions = f"work/auc-{row}-seed{seed}/predictions.csv"
        path = self.folder / predictions
        path.parent.mkdir(parents=True)
        with open(path, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "class", "group", "probability of normal", "probability of abnormal"])
            for image, (label, study, score) in enumerate(zip(self.labels, self.studies, scores, strict=True)):
                writer.writerow([image, ["normal", "abnormal"][label], study, f"{1 - score:.6f}", f"{score:.6f}"])
        fpr, tpr, _ = sklearn.metrics.roc_curve(self.labels, scores)
        auc = sklearn.metrics.roc_auc_score(self.labels, scores.round(6))
        self.step(f"auc-{row}-seed{seed}", "auc", {
            "row": row, "variant": variant, "synthetic": synthetic, "real": real, "order": order, "seed": seed,
            "auc": auc, "low": auc - 0.02, "high": auc + 0.02, "best_epoch": 5, "validation_auc": auc,
            "predictions": predictions,
            "roc": {"fpr": fpr.tolist(), "tpr": tpr.tolist()},
        }, 75.0)  # fmt: skip

    def aucs(self) -> None:
        for seed in range(self.seeds):
            self.auc("true", None, 0, seed, 1.6, order="true")
            self.auc("true-steps-2700", None, 0, seed, 1.63, order="steps")
            for variant, gain in {"stylegan2-ada": -0.1, "spinegan": 0.1}.items():
                for count in COUNTS.values():
                    bonus = 0.15 if (variant, count) == ("spinegan", 640) else 0.0
                    self.auc(f"true+{variant}-{count}", variant, count, seed, 1.6 + gain + bonus)
                self.auc(f"only-{variant}-2700", variant, 2700, seed, 1.25 + gain, real=0, order="only")
            self.auc("pretrain-spinegan-2700", "spinegan", 2700, seed, 1.65, order="pretrain")

    def agreement(self) -> None:
        size = len(LESION_CLASSES)
        right = np.array([92, 71, 35, 64, 22, 97, 58, 13])
        asked = np.array([self.random.multinomial(100 - k, np.full(size, 1 / size)) for k in right]) + np.diag(right)
        test = np.array([self.random.multinomial(20, np.full(size, 1 / size)) for _ in right])
        test += np.diag([180] + [40] * 7)
        self.step("agreement-multiconditional-seed0", "agreement", {
            "variant": "multiconditional", "seed": 0, "class_names": list(LESION_CLASSES),
            "asked_seen": asked.tolist(), "agreement": [], "images_per_class": 100,
            "classifier": {"macro_auc": 0.931, "low": 0.915, "high": 0.944, "per_class_auc": [0.93] * size,
                           "test_confusion": test.tolist()},
        }, 30.0)  # fmt: skip

    def samples(self) -> None:
        for name, rows in {"real": 4, "stylegan2-ada": 4, "spinegan": 4, "multiconditional": 8}.items():
            folder = self.folder / "work" / f"samples-{name}"
            folder.mkdir(parents=True)
            y, x = np.mgrid[: 64 * rows, : 64 * 12]
            pixels = 90 + 70 * np.sin(y / 9) * np.exp(-(((x % 64) - 32) ** 2) / 150) + self.random.normal(0, 8, x.shape)
            PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "samples.png")
            self.step(f"samples-{name}", "samples", {"variant": name, "figure": "samples.png"}, 2.0)

    def everything(self) -> None:
        self.settings()
        self.data()
        self.step("term-classifier", "classifier", {"epochs": 12, "test_auc": 0.9}, 88.0)
        for seed in range(self.seeds):
            self.gan("stylegan2-ada", seed, self.kimg)
            self.gan("spinegan", seed, self.kimg, speed=1.35)
        for seed in range(self.seeds):
            self.gan("spinegan-gamma0.05", seed, 4.0, speed=0.8)
        self.gan("multiconditional", 0, self.kimg)
        self.real_metrics()
        self.aucs()
        self.agreement()
        self.samples()
