# Values for building inside vSphere: packer build -only=vsphere-clone.appliance -var-file=THIS packer
build_key          = "build"
vsphere_server     = "vcenter.example.com"
vsphere_user       = "packer@vsphere.local"
vsphere_datacenter = "DC1"
vsphere_cluster    = "Cluster1"
vsphere_datastore  = "datastore1"
vsphere_network    = "VM Network"
vsphere_template   = "debian-13"
