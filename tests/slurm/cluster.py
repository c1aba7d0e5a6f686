"""A Slurm cluster of one node, this machine, in a folder of its own: munged, slurmctld and slurmd, and two fake GPUs.

It reads and writes nothing of a Slurm that may be set up here already, and needs no root: what is named in its
configuration lies in the folder, and its ports are free ones.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

DAEMONS = ("munged", "slurmctld", "slurmd")
#: Cores that Slurm gives out, whatever the machine has; two tasks of two cores, or four of one.
CPUS = 4
#: Small, so that ten tasks are more than one array.
MAX_ARRAY = 4
_CONFIGURATION = """\
ClusterName=sot
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=15
CryptoType=crypto/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,requeue_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MaxArraySize={max_array}
MinJobAge=3600
KillWait=5
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:2 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """The cluster; up after `start`, gone after `stop`.

    Args:
        folder: for everything of it; a short path, as it holds a socket.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.host = folder, socket.gethostname().partition(".")[0]
        self._daemons: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []

    @staticmethod
    def missing() -> list[str]:
        """What is not installed of it."""
        return [name for name in (*DAEMONS, "sbatch") if find(name) is None]

    @property
    def environment(self) -> dict[str, str]:
        """What makes Slurm's commands speak to this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> None:
        """Start the daemons, and wait until the node is idle."""
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        self._configure()
        places = {"socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log", "seed-file": "seed"}
        options = [f"--{option}={self.folder / name}" for option, name in places.items()]
        self._launch("munged", "--foreground", "--force", f"--key-file={key}", *options)
        self._until((self.folder / "munge.socket").exists)
        configuration = self.environment["SLURM_CONF"]
        self._launch("slurmctld", "-D", "-f", configuration)
        self._until(lambda: self.ask("scontrol", "ping").returncode == 0)
        self._launch("slurmd", "-D", "-f", configuration)
        self._until(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T").stdout)

    def stop(self) -> None:
        """Cancel all jobs and end the daemons."""
        self.ask("scancel", "--state=PENDING")
        self.ask("scancel", "--signal=KILL", "--full", "--state=RUNNING")
        for process, log in reversed(self._daemons):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()
        self._daemons.clear()

    def ask(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of Slurm."""
        environment = os.environ | self.environment
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def _configure(self) -> None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        (controller, first), (node, second) = _free_port(), _free_port()
        text = _CONFIGURATION.format(
            host=self.host,
            folder=self.folder,
            user=user,
            controller=controller,
            node=node,
            cpus=CPUS,
            memory=memory,
            max_array=MAX_ARRAY,
        )
        first.close()
        second.close()
        (self.folder / "slurm.conf").write_text(text)
        gpus = "".join(f"NodeName={self.host} Name=gpu File={file}\n" for file in ("/dev/null", "/dev/zero"))
        (self.folder / "gres.conf").write_text(gpus)
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\n")

    def _launch(self, name: str, *arguments: str) -> None:
        log = (self.folder / f"{name}.out").open("wb")
        path = find(name)
        assert path is not None
        command = [path, *arguments]
        environment = os.environ | self.environment
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        self._daemons.append((process, log))

    def _until(self, reached: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            dead = [process for process, _ in self._daemons if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                self.stop()
                told = "\n".join(
                    f"{log.name}: {log.read_text()[-1500:]}" for log in self.folder.glob("*.[lo][ou][gt]")
                )
                raise RuntimeError(f"Slurm does not start here: {told}")
            time.sleep(0.2)


def find(name: str) -> str | None:
    """A program, also where only root looks for it."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_port() -> tuple[int, socket.socket]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    return listening.getsockname()[1], listening
