# Every value that the template takes; those of a target are in targets/*.pkrvars.hcl.

variable "work" {
  type        = string
  description = "Folder with disk.qcow2, vmlinuz, initrd and the build key, as disk.sh leaves them."
}

variable "output" {
  type        = string
  description = "Folder that gets the disk; it must not exist yet."
}

variable "cpus" {
  type        = number
  default     = 2
  description = "Processors of the machine that builds."
}

variable "memory_mib" {
  type        = number
  default     = 2048
  description = "Memory of the machine that builds, MiB."
}

variable "accelerator" {
  type        = string
  default     = "tcg"
  description = "kvm where it carries a guest (packer/accelerator.sh finds out by booting), else tcg."
}

variable "machine" {
  type        = string
  default     = "q35"
  description = "QEMU's machine type."
}
