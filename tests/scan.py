"""What a container finds on its networks: hosts, and every TCP port of each that is open.

Run inside it, as `python -c "$(cat tests/scan.py)" [HOST ...]`: a connection to each of the 65,535
ports of each host, of those named or else of all on its own networks. It needs no right to make
packets of its own. Prints JSON: ports by address.
"""

from __future__ import annotations

import errno
import fcntl
import json
import selectors
import socket
import struct
import sys
import time
from pathlib import Path

_ADDRESS, _AT_ONCE, _PATIENCE_S = 0x8915, 512, 2.0
_FIRST = 254  # addresses of a network that are looked at: the engine gives them from the start on


def own_addresses():
    """Return this container's addresses, but for its loopback's."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        for _, name in socket.if_nameindex():
            try:
                told = fcntl.ioctl(one.fileno(), _ADDRESS, struct.pack("256s", name.encode()))
            except OSError:
                continue
            found.append(socket.inet_ntoa(told[20:24]))
    return [address for address in found if not address.startswith("127.")]


def neighbours():
    """Return who answers on the networks of this container, by asking for their link addresses."""
    own = own_addresses()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setblocking(False)
        for address in own:
            for last in range(1, _FIRST + 1):
                try:
                    one.sendto(b"", (f"{address.rpartition('.')[0]}.{last}", 9))
                except OSError:
                    continue
    time.sleep(1.5)
    rows = [line.split() for line in Path("/proc/net/arp").read_text().splitlines()[1:]]
    return sorted(row[0] for row in rows if int(row[2], 16) & 2)


def open_ports(host, ports):
    """Return the ports of a host that take a connection."""
    waiting, found, left = {}, [], iter(ports)
    with selectors.DefaultSelector() as selector:
        more = True
        while more or waiting:
            while more and len(waiting) < _AT_ONCE:
                port = next(left, 0)
                more = bool(port)
                if more:
                    _begin(host, port, selector, waiting, found)
            for key, _ in selector.select(0.05):
                if not key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    found.append(key.data)
                _end(key.fileobj, selector, waiting)
            now = time.monotonic()
            for one in [one for one, began in waiting.items() if now - began > _PATIENCE_S]:
                _end(one, selector, waiting)
    return sorted(found)


def _begin(host, port, selector, waiting, found):
    one = socket.socket()
    one.setblocking(False)
    said = one.connect_ex((host, port))
    if said != errno.EINPROGRESS:  # most are refused at once
        if said == 0:
            found.append(port)
        one.close()
        return
    selector.register(one, selectors.EVENT_WRITE, port)
    waiting[one] = time.monotonic()


def _end(one, selector, waiting):
    selector.unregister(one)
    del waiting[one]
    one.close()


hosts = sys.argv[1:] or neighbours()
sys.stdout.write(json.dumps({host: open_ports(host, range(1, 65536)) for host in hosts}))
