# One node is one system container. The scripts start podman by the environment variables
# PODMAN (default: podman) and CONTAINERS_CONF: these reach the removal of nodes too, which
# variables of the module would not.

terraform {
  required_version = ">= 1.5"
}

resource "terraform_data" "network" {
  count = length(var.nodes) > 0 ? 1 : 0

  input            = { cluster = var.cluster, network = var.network }
  triggers_replace = { network = var.network, subnet = var.subnet }

  provisioner "local-exec" {
    interpreter = ["/bin/sh"]
    command     = "scripts/create-network.sh"
    environment = {
      CLUSTER  = var.cluster
      NETWORK  = var.network
      SUBNET   = var.subnet
      GATEWAY  = cidrhost(var.subnet, 1)
      INTERNAL = var.internal
    }
  }

  provisioner "local-exec" {
    when        = destroy
    interpreter = ["/bin/sh"]
    command     = "scripts/remove-network.sh"
    environment = {
      CLUSTER = self.input.cluster
      NETWORK = self.input.network
    }
  }
}

# What a node is made of. It is a resource of its own so that a change of it replaces the
# node, while a node that is only imported (its container lives, the state was lost) is not.
resource "terraform_data" "specification" {
  for_each = var.nodes

  input = merge(each.value, { network = var.network, subnet = var.subnet })
}

resource "terraform_data" "node" {
  for_each = var.nodes

  input = merge(each.value, { name = each.key })

  lifecycle {
    replace_triggered_by = [terraform_data.specification[each.key]]
  }

  provisioner "local-exec" {
    interpreter = ["/bin/sh"]
    command     = "scripts/create-node.sh"
    environment = {
      CLUSTER         = var.cluster
      NETWORK         = var.network
      NODE            = each.key
      INSTANCE        = self.id
      ADDRESS         = each.value.address
      GATEWAY         = var.internal ? "${cidrhost(var.subnet, 1)}/${split("/", var.subnet)[1]}" : ""
      IMAGE           = each.value.image
      IMAGE_DIGEST    = each.value.image_digest
      GENERATION      = each.value.generation
      MEMORY_MIB      = var.memory_mib
      AUTHORIZED_KEYS = var.authorized_keys
    }
  }

  # By its instance and not by its name: a container that somebody else gave this name stays.
  provisioner "local-exec" {
    when        = destroy
    interpreter = ["/bin/sh"]
    command     = "scripts/remove-node.sh"
    environment = {
      INSTANCE = self.id
    }
  }

  depends_on = [terraform_data.network]
}
