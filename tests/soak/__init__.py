"""Endurance: mixed load, churning tunnels and faults for as long as it is told; `make soak`.

`world` starts a supervised node, both sides and a fault relay before the platform; `faults` is
the schedule of what goes wrong and which losses that excuses; `samples` is what is looked at every
second; `trend` is the statistics, `verdict` judges, `picture` draws.
"""
