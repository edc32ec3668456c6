"""The built image, started under QEMU and used as an operator would.

`machine` is one virtual machine on a switch of the lab's; `seeds` are the volumes that tell it at
its first start who it is. The stand-ins and the network are those of `tests.lab`.
"""
