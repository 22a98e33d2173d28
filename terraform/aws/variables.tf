variable "cluster" {
  description = "Name of the zone; everything that is made carries it as a tag."
  type        = string
}

variable "region" {
  description = "Region of the VPC."
  type        = string
}

variable "endpoint_url" {
  description = "Address of another service with the API of AWS; AWS if null."
  type        = string
  default     = null
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "nodes" {
  description = "Nodes by name; the image's digest is its AMI's id. An empty map removes them all, and what they shared."
  type = map(object({
    address      = string
    image        = string
    image_digest = string
    generation   = string
    subnet_id    = string
  }))
}

variable "instance_type" {
  description = "Type of each new node."
  type        = string
}

variable "key_pair" {
  description = "Key pair of each new node; none if null."
  type        = string
  default     = null
}

variable "root_gib" {
  description = "Size of a new node's system disk, in GiB."
  type        = number
}

variable "data_gib" {
  description = "Size of a new node's disk for MariaDB, in GiB."
  type        = number
}

variable "kms_key_id" {
  description = "ARN of the key that new disks are encrypted with; the account's own for EBS if null."
  type        = string
  default     = null
}

variable "ssh_port" {
  description = "Port of sshd on the nodes."
  type        = number
  default     = 22
}

variable "oned_port" {
  description = "Port of oned's XML-RPC."
  type        = number
  default     = 2633
}

variable "grpc_port" {
  description = "Port of oned's gRPC, from OpenNebula 7 on."
  type        = number
  default     = 2634
}

variable "monitor_port" {
  description = "Port of monitord, tcp and udp."
  type        = number
  default     = 4124
}

variable "client_ports" {
  description = "Further ports that clients use, of services in the image."
  type        = list(number)
  default     = []
}

variable "operators" {
  description = "Ranges of the machines that run onebaton."
  type        = list(string)
}

variable "clients" {
  description = "Ranges of the zone's clients."
  type        = list(string)
  default     = []
}

variable "hypervisors" {
  description = "Ranges of the hypervisors."
  type        = list(string)
  default     = []
}

variable "reaches" {
  description = "Ranges that the nodes may reach besides each other, on port 443; anything if null."
  type        = list(string)
  default     = null
}

variable "instance_profile" {
  description = "Instance profile of each new node; made here if null."
  type        = string
  default     = null
}

variable "allocation_id" {
  description = "Of the Elastic IP that is the zone's address; a private address moves if null."
  type        = string
  default     = null
}

variable "authorized_keys" {
  description = "Public keys that may log in to a new node (an authorized_keys file)."
  type        = string
}

variable "tags" {
  description = "Further tags of everything that is made."
  type        = map(string)
  default     = {}
}
