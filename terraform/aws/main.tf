# One node is one EC2 instance on a network interface of its own, which keeps the node's private
# address. Nothing here changes a living node: a change of what it is made of replaces it, and
# sizes, key pair and user data are for new nodes.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region = var.region

  dynamic "endpoints" {
    for_each = var.endpoint_url == null ? [] : [var.endpoint_url]

    content {
      ec2 = endpoints.value
      iam = endpoints.value
      sts = endpoints.value
    }
  }
}

locals {
  any  = length(var.nodes) > 0
  name = "onebaton-${var.cluster}"
  tags = merge(var.tags, { "onebaton:cluster" = var.cluster })

  # What a node is, told on everything of it: the tags are there when the state is not.
  node_tags = {
    for name, node in var.nodes : name => merge(local.tags, {
      "Name"                  = name
      "onebaton:node"         = name
      "onebaton:address"      = node.address
      "onebaton:image"        = node.image
      "onebaton:image-digest" = node.image_digest
      "onebaton:generation"   = node.generation
    })
  }
}

# What a node is made of. They are resources of their own so that a change of them replaces the
# node, while a node that is only imported (it lives, the state was lost) is not.
resource "terraform_data" "specification" {
  for_each = var.nodes

  input = each.value
}

resource "terraform_data" "place" {
  for_each = var.nodes

  input = { address = each.value.address, subnet_id = each.value.subnet_id }
}

resource "aws_network_interface" "node" {
  for_each = var.nodes

  description     = "${local.name}: ${each.key}"
  subnet_id       = each.value.subnet_id
  private_ips     = [each.value.address]
  security_groups = [aws_security_group.nodes[0].id]
  tags            = local.node_tags[each.key]

  lifecycle {
    replace_triggered_by = [terraform_data.place[each.key]]
    # The leader's interface holds the zone's address too: it came there, and it goes, by itself.
    ignore_changes = [private_ips, private_ips_count, private_ip_list]
  }
}

resource "aws_instance" "node" {
  for_each = var.nodes

  ami                  = each.value.image_digest
  instance_type        = var.instance_type
  key_name             = var.key_pair
  iam_instance_profile = local.instance_profile

  network_interface {
    device_index         = 0
    network_interface_id = aws_network_interface.node[each.key].id
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = var.root_gib
    encrypted   = true
    kms_key_id  = var.kms_key_id
  }

  # MariaDB's: formatted by the node where it is blank. It goes with its node, as every new node
  # is seeded anew.
  ebs_block_device {
    device_name           = "/dev/sdf"
    volume_type           = "gp3"
    volume_size           = var.data_gib
    encrypted             = true
    kms_key_id            = var.kms_key_id
    delete_on_termination = true
  }

  # Facts for the first boot and no script: cloud-init writes these two files.
  user_data = join("\n", [
    "#cloud-config",
    jsonencode({
      write_files = [
        {
          path        = "/etc/onebaton/first-boot.env"
          permissions = "0644"
          content     = "NODE_NAME=${each.key}\n"
        },
        {
          path        = "/etc/onebaton/authorized_keys"
          permissions = "0644"
          content     = "${var.authorized_keys}\n"
        },
      ]
    }),
    "",
  ])

  tags        = local.node_tags[each.key]
  volume_tags = local.node_tags[each.key]

  lifecycle {
    replace_triggered_by = [
      terraform_data.specification[each.key],
      aws_network_interface.node[each.key].id,
    ]
    ignore_changes = all
  }
}
