"""A small leaf, in another language than Drover and its other tests: register, tell what was used, carry out one directive, leave.

Arguments: port, token, agent_id. Standard output gets one line of JSON. It needs python3-websockets (Debian); docs/protocol.md, "Leaf
relay", is what it was written from.
"""
import asyncio
import json
import sys
import uuid
from datetime import datetime, timezone

import websockets


def now():
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Leaf:
    def __init__(self, socket, agent):
        self.socket, self.agent = socket, agent

    async def say(self, kind, payload, re=None):
        message = {"kind": kind, "msg_id": str(uuid.uuid4()), "ts": now(), "direction": "up", "agent_id": self.agent, "re": re, "payload": payload}
        await self.socket.send(json.dumps(message))
        return message["msg_id"]

    async def hear(self, kind):
        while True:
            message = json.loads(await self.socket.recv())
            if message["kind"] == kind:
                return message


async def main(port, token, agent):
    headers = {"Authorization": f"Bearer {token}"}
    uri = f"ws://127.0.0.1:{port}/agent"
    try:
        connection = websockets.connect(uri, extra_headers=headers, compression=None)
    except TypeError:  # newer releases of the library
        connection = websockets.connect(uri, additional_headers=headers, compression=None)
    told = {}
    async with connection as socket:
        leaf = Leaf(socket, agent)
        await leaf.say("register_agent", {"name": "python", "version": "1"})
        told["accepted"] = (await leaf.hear("registered"))["payload"]["accepted"]
        await leaf.say("usage_report", {"outbox": 1, "rows": [{"row_id": "p1", "at": now(), "key": "qwen3", "in_tokens": 1, "out_tokens": 2, "status": 200}]})
        told["usage"] = (await leaf.hear("ack"))["payload"]["scope"]
        asked = await leaf.hear("preload_model")
        directive = asked["payload"]["directive_id"]
        await leaf.say("ack", {"directive_id": directive, "accepted": True}, asked["msg_id"])
        result = await leaf.say("directive_result", {"directive_id": directive, "status": "succeeded", "detail": {}})
        while (await leaf.hear("ack"))["re"] != result:
            pass
        told["did"] = asked["payload"]["op"]
    print(json.dumps(told))


asyncio.run(asyncio.wait_for(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]), 25))
