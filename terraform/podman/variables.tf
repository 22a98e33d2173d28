variable "cluster" {
  description = "Name of the zone; every container and the network carry it as a label."
  type        = string
}

variable "nodes" {
  description = "Nodes by name. An empty map removes them all, and the network with them."
  type = map(object({
    address      = string
    image        = string
    image_digest = string
    generation   = string
  }))
}

variable "network" {
  description = "Name of the podman network that the module makes."
  type        = string
}

variable "subnet" {
  description = "Subnet of that network; its first address is the gateway, which this machine holds."
  type        = string
}

variable "internal" {
  description = "Give that network no way out: only this machine reaches the nodes, and they reach nobody else."
  type        = bool
  default     = false
}

variable "memory_mib" {
  description = "Memory limit of each new node; 0 on a host that cannot limit memory."
  type        = number
  default     = 0
}

variable "authorized_keys" {
  description = "Public keys that may log in to a new node (an authorized_keys file)."
  type        = string
}
