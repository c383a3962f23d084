"""Several processes of one command: how they start, how they end, and what is said about it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stylegan2ada import launch as module
from stylegan2ada.launch import launch
from stylegan2ada.processes import LOST_STATUS

HEAD = "import os, signal, sys, time; rank = int(os.environ['RANK'])\n"


def run(script: str, count: int = 2) -> int:
    return launch(count, [sys.executable, "-c", HEAD + script])


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(module, "GRACE_SEC", 1.0)
    monkeypatch.setattr(module, "MOMENT_SEC", 0.6)


class TestStart:
    def test_the_environment_is_that_of_torchrun(self, tmp_path):
        script = "n = 'RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE'.split()\n"
        script += f"open(r'{tmp_path}/' + str(rank), 'w').write(' '.join(os.environ[i] for i in n))"
        assert run(script, 3) == 0
        assert [(tmp_path / str(rank)).read_text() for rank in range(3)] == [f"{rank} {rank} 3 3" for rank in range(3)]

    def test_only_the_first_has_the_terminal(self, capfd):
        assert run("print('out', rank); print('err', rank, file=sys.stderr)") == 0
        out, err = capfd.readouterr()
        assert out == "out 0\n"
        assert err == "err 0\n"

    @pytest.mark.slow
    def test_by_default_it_is_the_same_command_again(self, tmp_path, repository_dir):
        script = tmp_path / "script.py"
        script.write_text(
            "import sys\nfrom stylegan2ada.launch import is_launched, launch\n"
            "if not is_launched():\n    sys.exit(launch(2))\n"
            "print(sys.argv[1:], flush=True)\n"
        )
        command = [sys.executable, "-W", "ignore", str(script), "--a", "b c"]
        environment = os.environ | {"PYTHONPATH": str(repository_dir)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, "['--a', 'b c']\n"), done.stderr


class TestEnd:
    def test_a_killed_process_ends_the_others_and_is_named(self, capfd):
        started = time.monotonic()
        assert run("os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else time.sleep(60)", 3) == 128 + signal.SIGKILL
        assert time.monotonic() - started < 15
        assert capfd.readouterr().err == "Error: process 1 of 3 was ended by SIGKILL; the others are stopped\n"

    def test_so_does_the_first_one(self, capfd):
        assert run("os.kill(os.getpid(), signal.SIGKILL) if rank == 0 else time.sleep(60)") == 128 + signal.SIGKILL
        assert "process 0 of 2 was ended by SIGKILL" in capfd.readouterr().err

    def test_what_the_failed_one_said_is_shown(self, capfd):
        assert run("rank == 1 and sys.exit('no such file')\ntime.sleep(60)") == 1
        err = capfd.readouterr().err
        assert err.splitlines() == [
            "[process 1] no such file", "Error: process 1 of 2 ended with exit status 1; the others are stopped",
        ]  # fmt: skip

    def test_a_mistake_that_all_see_is_said_once(self, capfd):
        """The others end first."""
        assert run("time.sleep(0.3 if rank == 0 else 0); print('Error: bad', file=sys.stderr); sys.exit(2)", 3) == 2
        assert capfd.readouterr().err == "Error: bad\n"

    def test_who_lost_the_connection_is_not_blamed(self, capfd):
        """The culprit is slower to end than the one that misses it."""
        script = f"time.sleep(rank * 0.3); sys.exit({LOST_STATUS} if rank == 0 else 3)"
        assert run(script) == 3
        assert "process 1 of 2 ended with exit status 3" in capfd.readouterr().err

    def test_who_does_not_listen_is_killed_after_the_grace(self, capfd):
        started = time.monotonic()
        script = "rank == 1 and (time.sleep(0.3), sys.exit(1))\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        assert run(script + "while True: time.sleep(1)") == 1
        assert 1 < time.monotonic() - started < 20


class TestSignals:
    def send(self, number: int, after_sec: float = 0.5) -> None:
        threading.Timer(after_sec, lambda: os.kill(os.getpid(), number)).start()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_are_handed_on_once_and_a_clean_stop_is_waited_for(self, number, tmp_path, capfd):
        """The first takes longer than the grace, and the others have ended before it: it is saving."""
        script = f"""
def stop(number, frame):
    time.sleep(2 if rank == 0 else 0)
    open(r'{tmp_path}/' + str(rank), 'a').write('saved')
    sys.exit(128 + number)
signal.signal({int(number)}, stop)
time.sleep(60)
"""
        self.send(number)
        assert run(script) == 128 + number
        assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["saved"] * 2
        assert capfd.readouterr().err == ""

    @pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
    def test_what_is_ignored_here_is_ignored_there(self):
        """nohup train.py --gpus=4 goes on when the terminal is closed."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            self.send(signal.SIGHUP)
            assert run("sys.exit(signal.getsignal(signal.SIGHUP) != signal.SIG_IGN or time.sleep(1))") == 0
        finally:
            signal.signal(signal.SIGHUP, before)

    def test_processes_that_know_nothing_of_it_end(self, capfd):
        self.send(signal.SIGTERM)
        assert run("time.sleep(60)") == 128 + signal.SIGTERM
        assert capfd.readouterr().err == ""

    def test_its_own_handlers_are_put_back(self):
        before = signal.getsignal(signal.SIGTERM)
        run("pass")
        assert signal.getsignal(signal.SIGTERM) is before


def test_when_the_launcher_is_killed_the_processes_end(tmp_path, repository_dir):
    """As training processes do: those that have joined each other."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, time\nfrom stylegan2ada.launch import is_launched, launch\n"
        "from stylegan2ada.processes import join_processes\n"
        "if not is_launched():\n    sys.exit(launch(2))\n"
        "with join_processes('cpu') as processes:\n"
        f"    open(r'{tmp_path}/' + str(processes.rank), 'w').write(str(os.getpid()))\n"
        "    time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(repository_dir)}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment)
    files = [tmp_path / "0", tmp_path / "1"]
    _until(lambda: all(file.exists() and file.read_text() for file in files), 40)
    parent.kill()
    parent.wait()
    _until(lambda: not any(_runs(int(file.read_text())) for file in files), 10)


def _until(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _runs(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"
