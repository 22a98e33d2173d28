# Who may reach the nodes, and what the nodes themselves may do.

locals {
  # Ports, protocol and who: the zone's own nodes need the API of each other alone.
  rules = concat(
    [for port in [var.oned_port, var.grpc_port] : {
      what = "oned, among the nodes", from = port, protocol = "tcp", ranges = [], nodes = true
    }],
    [for port in [var.ssh_port, var.oned_port] : {
      what = "onebaton", from = port, protocol = "tcp", ranges = var.operators, nodes = false
    }],
    [for port in distinct(concat([var.oned_port, var.grpc_port], var.client_ports)) : {
      what = "clients", from = port, protocol = "tcp", ranges = var.clients, nodes = false
    }],
    [for protocol in ["tcp", "udp"] : {
      what   = "monitord", from = var.monitor_port, protocol = protocol,
      ranges = var.hypervisors, nodes = false
    }],
  )
}

resource "aws_security_group" "nodes" {
  count = local.any ? 1 : 0

  name        = local.name
  description = "Nodes of the OpenNebula zone ${var.cluster}"
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { "Name" = local.name })

  dynamic "ingress" {
    for_each = [for rule in local.rules : rule if rule.nodes || length(rule.ranges) > 0]

    content {
      description = ingress.value.what
      from_port   = ingress.value.from
      to_port     = ingress.value.from
      protocol    = ingress.value.protocol
      cidr_blocks = ingress.value.ranges
      self        = ingress.value.nodes
    }
  }

  # To the hypervisors, to datastores and marketplaces, to the API of EC2.
  dynamic "egress" {
    for_each = var.reaches == null ? ["anywhere"] : []

    content {
      description = egress.value
      from_port   = 0
      to_port     = 0
      protocol    = "-1"
      cidr_blocks = ["0.0.0.0/0"]
    }
  }

  # A clone's: each other, and AWS, which is asked for the zone's address.
  dynamic "egress" {
    for_each = var.reaches == null ? [] : [var.oned_port, var.grpc_port]

    content {
      description = "oned, among the nodes"
      from_port   = egress.value
      to_port     = egress.value
      protocol    = "tcp"
      self        = true
    }
  }

  dynamic "egress" {
    for_each = var.reaches == null ? [] : [for ranges in [var.reaches] : ranges if length(ranges) > 0]

    content {
      description = "endpoints of AWS"
      from_port   = 443
      to_port     = 443
      protocol    = "tcp"
      cidr_blocks = egress.value
    }
  }
}

data "aws_partition" "current" {}

locals {
  own_profile      = local.any && var.instance_profile == null
  instance_profile = local.own_profile ? aws_iam_instance_profile.node[0].name : var.instance_profile
  role             = "onebaton-${var.cluster}-${var.region}"
  ec2              = "arn:${data.aws_partition.current.partition}:ec2:${var.region}:*"

  # The zone's address, to this cluster's own interfaces, and nothing else.
  own_interfaces = {
    Effect    = "Allow"
    Action    = local.elastic ? "ec2:AssociateAddress" : "ec2:AssignPrivateIpAddresses"
    Resource  = "${local.ec2}:network-interface/*"
    Condition = { StringEquals = { "aws:ResourceTag/onebaton:cluster" = var.cluster } }
  }
  elastic_ip = {
    Effect   = "Allow"
    Action   = "ec2:AssociateAddress"
    Resource = "${local.ec2}:elastic-ip/${coalesce(var.allocation_id, "none")}"
  }
  elastic = var.allocation_id != null
}

resource "aws_iam_role" "node" {
  count = local.own_profile ? 1 : 0

  name        = local.role
  description = "Lets the leader of the OpenNebula zone ${var.cluster} take the zone's address"
  tags        = local.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "node" {
  count = local.own_profile ? 1 : 0

  name = "zone-address"
  role = aws_iam_role.node[0].id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat([local.own_interfaces], [for one in [local.elastic_ip] : one if local.elastic])
  })
}

resource "aws_iam_instance_profile" "node" {
  count = local.own_profile ? 1 : 0

  name = local.role
  role = aws_iam_role.node[0].name
  tags = local.tags
}
