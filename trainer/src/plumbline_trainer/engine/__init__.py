"""The CPU engine: serves one model out of the store, OpenAI-compatible, on loopback.

`main` is the command `plumbline-engine`. Requests come in through `server` (aiohttp), wait in `scheduler`, and are
computed together by `decoder`; nothing but `decoder` and `loading` imports torch, and these are imported late.
"""
