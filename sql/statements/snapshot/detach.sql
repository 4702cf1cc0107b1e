DETACH {{ name }}
