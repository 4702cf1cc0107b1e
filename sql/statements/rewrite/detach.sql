DETACH rewritten
