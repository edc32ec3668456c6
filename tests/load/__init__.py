"""Numbered load: nothing may get lost, and nothing may reach the other side twice.

Every request and every message in a tunnel carries a number. `callers` is a program that sends
them at a fixed rate and notes what was answered; `ledger` is a program that answers and notes
what reached it, and how often. Either side of the proxy can be either: agents call a platform,
the platform calls agents. Programs of their own with gevent, so that hundreds of requests a second
and thousands of tunnels fit beside the proxy; `running` starts and asks them.

When is a request lost? It is sent again only where nobody can have seen it: on a kept
connection that was closed properly (close_notify) before the answer began. If the proxy had
passed that one on, the ledger sees its number twice. Everything else that ends without its
answer is lost.

A tunnel's end may fall between a message and its answer; whoever speaks through it repeats
what was not answered (that is how agents do it). So a message may be unanswered only where its
tunnel ended, and must not arrive twice.
"""
