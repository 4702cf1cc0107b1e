DETACH {name}
