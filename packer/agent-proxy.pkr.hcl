# How the image is baked: a disk made by disk.sh, with the product on it, is started, hardened and made
# to boot by scripts/, verified from inside, cleaned, and shut down. export.sh makes the other formats
# from it. The guest has no network but the way in for Packer.

source "qemu" "appliance" {
  accelerator          = var.accelerator
  machine_type         = var.machine
  headless             = true
  disk_image           = true
  iso_url              = "${var.work}/disk.qcow2"
  iso_checksum         = "none"
  format               = "qcow2"
  disk_compression     = false
  skip_resize_disk     = true
  disk_interface       = "virtio"
  disk_discard         = "unmap"
  net_device           = "virtio-net"
  output_directory     = var.output
  vm_name              = "agent-proxy.qcow2"
  communicator         = "ssh"
  ssh_username         = "packer"
  ssh_private_key_file = "${var.work}/build"
  ssh_timeout          = "10m"
  boot_wait            = "1s"
  shutdown_timeout     = "5m"
  # The last command removes the user that it is run by.
  shutdown_command = "sudo sh /run/99-goodbye.sh"

  qemuargs = [
    ["-cpu", "max"],
    ["-smp", "cpus=${var.cpus}"],
    ["-m", "${var.memory_mib}M"],
    ["-machine", "type=${var.machine},accel=${var.accelerator}"],
    ["-netdev", "user,id=user.0,restrict=on,hostfwd=tcp::{{ .SSHHostPort }}-:22"],
    ["-kernel", "${var.work}/vmlinuz"],
    ["-initrd", "${var.work}/initrd"],
    ["-append", "root=LABEL=rootfs console=ttyS0 net.ifnames=0 no_timer_check quiet systemd.unit=build.target"],
    ["-serial", "file:${var.work}/serial.log"],
  ]
}

build {
  sources = ["source.qemu.appliance"]

  provisioner "file" {
    source      = "${path.root}/files"
    destination = "/tmp/"
  }

  provisioner "shell" {
    execute_command = "sudo {{ .Vars }} sh -eu {{ .Path }}"
    # Offline: units are linked, and systemd does not read all of them again after each.
    environment_vars = ["SYSTEMD_OFFLINE=1", "DEBIAN_FRONTEND=noninteractive"]
    scripts = [
      "${path.root}/scripts/20-system.sh",
      "${path.root}/scripts/30-hardening.sh",
      "${path.root}/scripts/40-boot.sh",
      "${path.root}/scripts/90-verify.sh",
      "${path.root}/scripts/99-clean.sh",
    ]
  }
}
