"""A small node of a hub, in another language than Drover and its other tests: hello, welcome, register, a stream each way, close.

Standard input has one line of JSON: port, id, token, host, key, cert, ca (paths), model. Standard output gets one line of JSON.
It needs python3-websockets (Debian); docs/protocol.md is what it was written from.
"""
import asyncio
import json
import ssl
import struct
import sys
import uuid
from datetime import datetime, timezone

import websockets

OPEN, DATA, CREDIT, RESET, GOAWAY = 1, 2, 3, 4, 5
HTTP, ECHO = 1, 2


def frame(kind, stream, payload=b"", flags=0):
    return struct.pack(">BBHI", kind, flags, 0, stream) + payload


class Node:
    def __init__(self, said, socket):
        self.said, self.socket, self.seq, self.told = said, socket, 0, {}

    async def say(self, kind, payload):
        self.seq += 1
        ts = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        await self.socket.send(json.dumps({"v": 1, "kind": kind, "msg_id": str(uuid.uuid4()), "ts": ts, "direction": "up",
                                           "site_id": self.said["id"], "agent_id": None, "seq": self.seq, "re": None, "payload": payload}))

    async def answer(self, kind):
        message = json.loads(await self.socket.recv())
        if message["kind"] != kind:
            raise SystemExit(f"{kind} was to come, and not {message}")
        return message["payload"]

    async def handshake(self):
        await self.say("hello", {"proto": {"min": 1, "max": 1}, "node_id": self.said["id"], "instance": str(uuid.uuid4()), "features": ["echo"]})
        self.told["epoch"] = (await self.answer("welcome"))["epoch"]
        await self.say("register_agent", {"version": "1", "services": ["http"], "models": [{"key": self.said["model"], "type": "chat", "state": "loaded"}]})
        self.told["accepted"] = (await self.answer("registered"))["accepted"]
        await self.say("heartbeat", {"state": "running", "uptime_ms": 1})

    async def echo(self):
        """A stream of ours: what goes there comes back, then both sides end."""
        await self.socket.send(frame(OPEN, 1, struct.pack(">BBHI", ECHO, 1, 0, 0) + b"early, "))
        await self.socket.send(frame(DATA, 1, b"then late", flags=1))
        back, ended = b"", False
        while not ended:
            message = await self.socket.recv()
            if isinstance(message, bytes) and struct.unpack(">I", message[4:8])[0] == 1 and message[0] == DATA:
                back, ended = back + message[8:], bool(message[1] & 1)
        self.told["echo"] = back.decode()

    async def serve(self):
        """A stream of the hub's: one request of HTTP/1.1, one streamed answer."""
        asked, stream = b"", None
        while True:
            message = await self.socket.recv()
            if not isinstance(message, bytes):
                continue
            kind, _, _, ident = struct.unpack(">BBHI", message[:8])
            if kind == OPEN:
                meta = struct.unpack(">H", message[10:12])[0]
                stream, asked = ident, message[16 + meta:]
            elif kind == DATA and ident == stream:
                asked += message[8:]
            head, _, body = asked.partition(b"\r\n\r\n")
            length = [int(f.split(b":")[1]) for f in head.split(b"\r\n") if f.lower().startswith(b"content-length:")]
            if length and len(body) >= length[0]:
                break
        self.told["request"] = head.decode().split("\r\n")[0]
        self.told["host"] = [f.split(": ", 1)[1] for f in head.decode().split("\r\n") if f.lower().startswith("host:")]
        await self.socket.send(frame(CREDIT, 0, struct.pack(">I", len(asked))))
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        await self.socket.send(frame(DATA, stream, answer))
        for delta, reason in (({"content": "from "}, None), ({"content": "Python"}, None), ({}, "stop")):
            chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": self.said["model"],
                     "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
            await self.socket.send(frame(DATA, stream, b"data: " + json.dumps(chunk).encode() + b"\n\n"))
        await self.socket.send(frame(DATA, stream, b"data: [DONE]\n\n", flags=1))


async def main():
    said = json.loads(sys.stdin.readline())
    context = ssl.create_default_context(cafile=said["ca"])
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(said["cert"], said["key"])
    headers = {"Authorization": f"Bearer {said['token']}", "Drover-Node": said["id"]}
    async with websockets.connect(f"wss://127.0.0.1:{said['port']}/link/v1", ssl=context, server_hostname=said["host"], extra_headers=headers,
                                  subprotocols=["drover.link.1"], compression=None) as socket:
        node = Node(said, socket)
        node.told["subprotocol"] = socket.subprotocol
        await node.handshake()
        await node.echo()
        print("up", flush=True)
        await node.serve()
        await asyncio.sleep(0.3)  # the hub reads the answer's end
        await socket.close(1000, "done")
        node.told["close"] = socket.close_code
    print(json.dumps(node.told), flush=True)


asyncio.run(asyncio.wait_for(main(), 30))
