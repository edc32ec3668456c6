"""Speed and memory of the agent proxy beside nginx and HAProxy doing the same job.

`python -m tests.bench` starts everything it needs on loopback, measures, stops what it started
and writes docs/performance.md. The map: `programs` (start, stop, CPU and memory of processes),
`proxies` (the three proxies and the two backends, with their configuration), `load` (requests),
`tunnels` (many open tunnels; `tunnel_client` and `tunnel_backend` are its two programs),
`scenarios` (what is measured), `report` and `picture` (what is written).
"""
