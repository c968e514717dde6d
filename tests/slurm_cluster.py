"""A Slurm of one node on this machine, from Debian's slurm-wlm and munge, that ends with the block that started it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "sinfo", "scancel")
START_SECONDS = 30.0

# The requeued job may start again once its credential has expired, which is 120 s by default.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CredType=cred/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
GresTypes=gpu
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=20
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=8000 Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why no Slurm can be started here; ``None`` where it can be tried."""
    if os.environ.get("MAMMOTRACE_SLURM") != "1":
        return "starts a Slurm of its own, which is asked for by MAMMOTRACE_SLURM=1"
    if os.geteuid() != 0:
        return "Slurm's node daemon has to be started as root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{', '.join(missing)} not installed (Debian: slurm-wlm and munge)" if missing else None


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[Path]:
    """Start munge, the controller and one node in ``folder``; gives the configuration file, for ``SLURM_CONF``.

    Raises
    ------
    RuntimeError
        The node did not become idle; with what the daemons said.
    """
    configuration = _write_configuration(folder)
    environment = {**os.environ, "SLURM_CONF": str(configuration)}
    with contextlib.ExitStack() as stack:
        munge = ["munged", "--foreground", "--force", f"--key-file={folder / 'munge.key'}", f"--socket={folder / 'munge.sock'}"]
        munge += [f"--{name}-file={folder / f'munged.{name}'}" for name in ("pid", "log", "seed")]
        stack.enter_context(_daemon(munge, folder / "munged.out", environment))
        _wait(lambda: (folder / "munge.sock").exists(), folder)
        stack.enter_context(_daemon(["slurmctld", "-D", "-i"], folder / "slurmctld.out", environment))
        stack.enter_context(_daemon(["slurmd", "-D"], folder / "slurmd.out", environment))
        _wait(lambda: _answer(["sinfo", "--noheader", "--format=%t"], environment) == "idle", folder)
        try:
            yield configuration
        finally:
            _answer(["scancel", "--user=root"], environment)
            _wait(lambda: not _answer(["squeue", "--noheader"], environment), folder)


def _write_configuration(folder: Path) -> Path:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    ports = {"controller_port": _free_port(), "node_port": _free_port()}
    text = CONFIGURATION.format(folder=folder, host=socket.gethostname().split(".")[0], **ports)
    (folder / "slurm.conf").write_text(text)
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # loaded, never used; without one slurmd does not start
    for name in ("gpu0", "gpu1"):
        (folder / name).touch()  # stands for a device: Slurm asks only that it is there
    (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-1]\n")
    return folder / "slurm.conf"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def _daemon(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[None]:
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file, env=environment) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _answer(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60).stdout.strip()


def _wait(ready, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            said = "\n".join(path.read_text(errors="replace")[-800:] for path in sorted(folder.glob("*.out")))
            raise RuntimeError(f"Slurm did not come up:\n{said}")
        time.sleep(0.1)
