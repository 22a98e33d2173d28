output "nodes" {
  description = "Nodes by name. The instance is the machine's own identity, another one after each replacement; its container carries it as the label onebaton.instance."
  value = {
    for name, node in terraform_data.node : name => {
      address      = node.output.address
      image        = node.output.image
      image_digest = node.output.image_digest
      generation   = node.output.generation
      instance     = node.id
    }
  }
}
