"""Files with only pyzmq and msgpack: write, read back as a stream. Usage: plain_files.py ENDPOINT KEY_FILE PATH TEXT"""

import os
import sys
import tomllib

import msgpack
import zmq

endpoint, key_file, path, text = sys.argv[1:]
with open(key_file, "rb") as file:
    key = tomllib.load(file)
with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
    dealer.linger, dealer.rcvtimeo = 0, 60_000
    dealer.curve_publickey, dealer.curve_secretkey = key["public"].encode(), key["secret"].encode()
    dealer.curve_serverkey = key["server"].encode()
    dealer.connect(endpoint)

    def call(id: int, name: str, arguments: dict[str, object]) -> dict[str, bytes]:
        dealer.send(msgpack.packb({"v": 1, "id": id, "call": name, "args": arguments}))
        while True:
            frame: dict[str, dict[str, bytes]] = msgpack.unpackb(dealer.recv())
            if "ev" in frame:
                os.write(1, frame["ev"]["data"])
                dealer.send(msgpack.packb({"v": 1, "id": id, "credit": 1}))
            elif "err" in frame:
                sys.exit(f"{frame['err']['name']!r}: {frame['err']['message']!r}")
            elif "ok" in frame:
                return frame["ok"]

    fd = call(1, "fs.open", {"path": path, "mode": "w"})["fd"]
    call(2, "fs.write", {"fd": fd, "data": text.encode()})
    call(3, "fs.close", {"fd": fd})
    fd = call(4, "fs.open", {"path": path})["fd"]
    call(5, "fs.read", {"fd": fd, "length": 1 << 40, "window": 2})
    call(6, "fs.close", {"fd": fd})
    call(7, "fs.unlink", {"path": path})
