"""A client with only pyzmq and msgpack: spawn, append, generate, list tools, remember.

Usage: plain_client.py ENDPOINT KEY_FILE TEXT
"""

import sys
import tomllib

import msgpack
import zmq

endpoint, key_file, text = sys.argv[1:]
with open(key_file, "rb") as file:
    key = tomllib.load(file)
with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
    dealer.linger, dealer.rcvtimeo = 0, 60_000
    dealer.curve_publickey, dealer.curve_secretkey = key["public"].encode(), key["secret"].encode()
    dealer.curve_serverkey = key["server"].encode()
    dealer.connect(endpoint)

    def call(id: int, name: str, arguments: dict[str, object]) -> dict[str, object]:
        dealer.send(msgpack.packb({"v": 1, "id": id, "call": name, "args": arguments}))
        while True:
            frame: dict[str, dict[str, object]] = msgpack.unpackb(dealer.recv())
            if "ev" in frame:
                print(frame["ev"]["text"], end="", flush=True)
                dealer.send(msgpack.packb({"v": 1, "id": id, "credit": 1}))
            elif "err" in frame:
                sys.exit(f"{frame['err']['name']}: {frame['err']['message']}")
            elif "ok" in frame:
                return frame["ok"]

    pid = call(1, "proc.spawn", {})["pid"]
    call(2, "ctx.append", {"pid": pid, "text": text})
    done = call(3, "gen.generate", {"pid": pid, "sampling": {"max_tokens": 16}, "window": 4})
    print(f"\n{done['finish_reason']}")
    print("tools", call(4, "tool.list", {})["tools"], file=sys.stderr)
    item = call(5, "mem.put", {"text": text, "metadata": {"by": "a plain client"}})
    found = call(6, "mem.search", {"query": text, "limit": 1, "where": [{"key": "by", "values": ["a plain client"]}]})
    print("found", str(item["id"]) in str(found["records"]), file=sys.stderr)
    call(7, "mem.forget", {"id": item["id"]})
