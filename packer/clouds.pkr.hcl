# The same appliance, baked inside a cloud instead of here: from a Debian 13 that is there already.
# Most will rather import what `make image` makes (docs/install.md). Values are in targets/; what is
# secret comes from the environment (PKR_VAR_vsphere_password; OS_* as openrc sets them). First:
#   make wheels WHEELS=wheels && git archive -o product.tar HEAD && tar -rf product.tar wheels
# Validated by Packer (tests/image/test_clouds.py); there is no such cloud here to run them in.

variable "openstack_base" {
  type        = string
  default     = ""
  description = "Name of the Debian 13 image to start from."
}

variable "openstack_flavor" {
  type        = string
  default     = ""
  description = "Flavor of the server that builds: 2 vCPU, 2 GiB, 4 GB of disk at least."
}

variable "openstack_networks" {
  type        = list(string)
  default     = []
  description = "IDs of its networks; Debian's packages are fetched through them."
}

variable "vsphere_server" {
  type        = string
  default     = ""
  description = "vCenter that clones."
}

variable "vsphere_user" {
  type        = string
  default     = ""
  description = "Who may clone a template and make one."
}

variable "vsphere_password" {
  type        = string
  default     = ""
  sensitive   = true
  description = "The user's; never in a file: PKR_VAR_vsphere_password."
}

variable "vsphere_datacenter" {
  type    = string
  default = ""
}

variable "vsphere_cluster" {
  type    = string
  default = ""
}

variable "vsphere_datastore" {
  type    = string
  default = ""
}

variable "vsphere_network" {
  type        = string
  default     = ""
  description = "Where Debian's packages are fetched from."
}

variable "vsphere_template" {
  type        = string
  default     = ""
  description = "A Debian 13 template with cloud-init or a user packer that has the build key."
}

variable "product" {
  type        = string
  default     = ""
  description = "product.tar, as above."
}

variable "build_key" {
  type        = string
  default     = ""
  description = "File with the private key of the throw-away user packer."
}

variable "build_key_pub" {
  type        = string
  default     = ""
  description = "The public key itself: PKR_VAR_build_key_pub=\"$(cat build.pub)\"."
}

locals {
  # cloud-init of the Debian that is started from makes the user; 05-other-base.sh removes cloud-init.
  user_data = <<-USER
    #cloud-config
    users:
      - name: packer
        sudo: ALL=(ALL) NOPASSWD:ALL
        shell: /bin/sh
        ssh_authorized_keys: ["${var.build_key_pub}"]
  USER
}

source "openstack" "appliance" {
  image_name           = "agent-proxy"
  source_image_name    = var.openstack_base
  flavor               = var.openstack_flavor
  networks             = var.openstack_networks
  user_data            = local.user_data
  ssh_username         = "packer"
  ssh_private_key_file = var.build_key
  ssh_timeout          = "10m"
  metadata = {
    hw_qemu_guest_agent = "yes"
    os_distro           = "debian"
    os_require_quiesce  = "yes"
  }
}

source "vsphere-clone" "appliance" {
  vm_name              = "agent-proxy"
  vcenter_server       = var.vsphere_server
  username             = var.vsphere_user
  password             = var.vsphere_password
  datacenter           = var.vsphere_datacenter
  cluster              = var.vsphere_cluster
  datastore            = var.vsphere_datastore
  network              = var.vsphere_network
  template             = var.vsphere_template
  CPUs                 = var.cpus
  RAM                  = var.memory_mib
  communicator         = "ssh"
  ssh_username         = "packer"
  ssh_private_key_file = var.build_key
  ssh_timeout          = "10m"
  shutdown_command     = "sudo sh /run/99-goodbye.sh"
  convert_to_template  = true
  vapp {
    properties = {}
  }
}

build {
  sources = ["source.openstack.appliance", "source.vsphere-clone.appliance"]

  provisioner "file" {
    source      = var.product
    destination = "/tmp/product.tar"
  }

  provisioner "file" {
    source      = "${path.root}/files"
    destination = "/tmp/"
  }

  provisioner "file" {
    sources     = ["${path.root}/packages.txt"]
    destination = "/tmp/packages.txt"
  }

  provisioner "shell" {
    execute_command  = "sudo {{ .Vars }} sh -eu {{ .Path }}"
    environment_vars = ["DEBIAN_FRONTEND=noninteractive"]
    scripts = [
      "${path.root}/scripts/05-other-base.sh",
      "${path.root}/scripts/10-product.sh",
      "${path.root}/scripts/20-system.sh",
      "${path.root}/scripts/30-hardening.sh",
      "${path.root}/scripts/40-boot.sh",
      "${path.root}/scripts/90-verify.sh",
      "${path.root}/scripts/99-clean.sh",
    ]
  }

  # OpenStack's builder has no last command of its own: it finds the server stopped.
  provisioner "shell" {
    only              = ["openstack.appliance"]
    inline            = ["sudo sh /run/99-goodbye.sh"]
    expect_disconnect = true
  }
}
