"Who listens while a run trains: nobody beyond loopback on one machine, one address alone on several."

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kill_workers import SETTINGS
from processes import ENV, descendants, finish, settings_on_line, train

RUN = SETTINGS | dict(iterations=1)
LISTENING = "0A"  # as /proc/net/tcp has it


def listeners(pid: int) -> dict:
    "inode -> address (hexadecimal) of the listening sockets that a process can see."
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING:
                found[fields[9]] = fields[1].rpartition(":")[0]
    return found


def own_inodes(pid: int) -> set:
    "inodes of a process's sockets."
    inodes = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = fd.readlink().name
        except OSError:
            continue
        if target.startswith("socket:"):
            inodes.add(target[8:-1])
    return inodes


def addresses(pids: list[int]) -> set:
    "Addresses at which some processes listen."
    found = set()
    for pid in pids:
        try:
            known = listeners(pid)
            found |= {known[inode] for inode in own_inodes(pid) if inode in known}
        except OSError:
            continue  # it has ended
    return found


def is_loopback(address: str) -> bool:
    "127.x.x.x, ::1, or the former written as the latter; as /proc/net has them."
    return address.endswith("7F") or address == "00000000000000000000000001000000"


def watched(processes: list) -> set:
    "All addresses at which processes and their descendants listen until all have ended."
    seen = set()
    while any(p.poll() is None for p in processes):
        seen |= addresses([q for p in processes for q in (p.pid, *descendants(p.pid))])
        time.sleep(0.2)  # a listener stays for seconds; a look at all sockets costs as much as a step
    return seen


def test_the_test_sees_who_listens():
    import os

    with socket.socket() as everywhere, socket.socket() as here:
        for s, address in ((everywhere, "0.0.0.0"), (here, "127.0.0.1")):
            s.bind((address, 0))
            s.listen()
        seen = addresses([os.getpid()])
    assert any(is_loopback(a) for a in seen) and any(not is_loopback(a) for a in seen)


def test_one_machine_listens_on_loopback_alone(tmp_path):
    run = RUN | dict(out=tmp_path / "run", worlds=tmp_path / "worlds", workers=2, loader_workers=1)
    p = train(run)
    seen = watched([p])
    assert finish(p)[0] == 0
    assert seen and all(map(is_loopback, seen)), seen


def test_several_machines_listen_on_the_named_address_alone(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    where = dict(out=tmp_path / "run", worlds=tmp_path / "worlds", workers=1)
    how = dict(nodes=2, rendezvous=f"127.0.0.1:{port}", join_minutes=2)
    both = [train(RUN | where | how) for _ in range(2)]
    seen = watched(both)
    ended = [finish(p) for p in both]
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert all("can run code as you" in out for _, out, _ in ended)
    assert seen and all(map(is_loopback, seen)), seen


HERE = "10.71.0.1"  # an address that the machine's own name does not lead to
IN_OWN_NETWORK = f"""
ip link set lo up && ip link add name net0 type veth peer name net1 || exit 3
ip address add {HERE}/24 dev net0 && ip link set net0 up && ip link set net1 up || exit 3
"$@" & other=$!
"$@" && wait $other
"""


def in_own_network(command: list) -> subprocess.Popen:
    "The same command twice, on a machine (of its own, as far as networks go) that has the address `HERE`."
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
    line = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", IN_OWN_NETWORK, "-", *command]
    return subprocess.Popen(list(map(str, line)), **pipes)


def test_workers_talk_over_the_network_of_the_meeting_point(tmp_path):
    if shutil.which("unshare") is None or finish(in_own_network(["true"]))[0]:
        pytest.skip("networks cannot be made here (unshare, ip)")
    where = dict(out=tmp_path / "run", worlds=tmp_path / "worlds", workers=1)
    how = dict(nodes=2, rendezvous=f"{HERE}:29400", join_minutes=2)
    settings = settings_on_line(RUN | where | how)
    p = in_own_network([sys.executable, "-m", "landmark_nb", "train", *settings])
    seen = watched([p])
    code, _, err = finish(p)
    assert code == 0, err[-3000:]
    assert seen == {socket.inet_aton(HERE)[::-1].hex().upper()}, "not where the machine's name leads to"


@pytest.mark.parametrize("rendezvous", ["*:29400", "0.0.0.0:29400", "[::]:29400"])
def test_every_interface_is_refused(tmp_path, rendezvous):
    out = tmp_path / "run"
    where = dict(out=out, worlds=tmp_path / "worlds", nodes=2, rendezvous=rendezvous, workers=1)
    code, _, err = finish(train(SETTINGS | where))
    assert code and "names every interface" in err.strip().splitlines()[-1]
