"""aiortc as the other end of tests/aiortc.rs: lines of JSON in on stdin, out on stdout.

    in    {"do": "offer", "open": [channel…]}       makes the offer, with these channels
          {"do": "offered", "sdp": …, "open": […]}  answers
          {"do": "answered", "sdp": …}
          {"do": "open", "channel": {…}}            label, ordered, maxRetransmits, maxPacketLifeTime, protocol, negotiated, id
          {"do": "send", "label": …, "text": …}     or "hex"
          {"do": "close", "label": …}
          {"do": "hang up"}
    out   {"sdp": …}
          {"opened": …} {"arrived": {…}} {"closed": …} {"state": …} {"problem": …}

Every message is sent back on its channel. All of it is on 127.0.0.1.
"""

import asyncio
import json
import sys

import aioice.ice
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

# It would take every address but this one.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


def say(**line):
    print(json.dumps(line), flush=True)


class Peer:
    def __init__(self):
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.channels = {}
        self.connection.on("datachannel", self.arrived)
        self.connection.on("connectionstatechange", lambda: say(state=self.connection.connectionState))

    def arrived(self, channel):
        say(
            arrived={
                "label": channel.label,
                "protocol": channel.protocol,
                "ordered": channel.ordered,
                "maxRetransmits": channel.maxRetransmits,
                "maxPacketLifeTime": channel.maxPacketLifeTime,
                "id": channel.id,
            }
        )
        self.watch(channel)

    def watch(self, channel):
        label = channel.label
        self.channels[label] = channel
        channel.on("open", lambda: say(opened=label))
        channel.on("close", lambda: say(closed=label))
        channel.on("message", channel.send)

    def open(self, options):
        self.watch(self.connection.createDataChannel(**options))

    async def do(self, line):
        match line["do"]:
            case "offer":
                for options in line["open"]:
                    self.open(options)
                await self.connection.setLocalDescription(await self.connection.createOffer())
                say(sdp=self.connection.localDescription.sdp)
            case "offered":
                await self.connection.setRemoteDescription(RTCSessionDescription(line["sdp"], "offer"))
                for options in line["open"]:
                    self.open(options)
                await self.connection.setLocalDescription(await self.connection.createAnswer())
                say(sdp=self.connection.localDescription.sdp)
            case "answered":
                await self.connection.setRemoteDescription(RTCSessionDescription(line["sdp"], "answer"))
            case "open":
                self.open(line["channel"])
            case "send":
                message = line["text"] if "text" in line else bytes.fromhex(line["hex"])
                self.channels[line["label"]].send(message)
            case "close":
                self.channels[line["label"]].close()
            case "hang up":
                await self.connection.close()


async def main():
    peer = Peer()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            await peer.do(json.loads(line))
        except Exception as problem:
            say(problem=repr(problem))
    await peer.connection.close()


asyncio.run(main())
