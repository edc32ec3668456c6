# Values for building inside OpenStack: packer build -only=openstack.appliance -var-file=THIS packer
build_key          = "build"
openstack_base     = "debian-13-generic-amd64"
openstack_flavor   = "m1.small"
openstack_networks = ["00000000-0000-0000-0000-000000000000"]
