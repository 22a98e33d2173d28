output "nodes" {
  description = "Nodes by name. The instance is the machine's own identity, another one after each replacement."
  value = {
    for name, node in aws_instance.node : name => {
      address      = terraform_data.specification[name].output.address
      image        = terraform_data.specification[name].output.image
      image_digest = terraform_data.specification[name].output.image_digest
      generation   = terraform_data.specification[name].output.generation
      instance     = node.id
    }
  }
}
