"""One call from parameters to saved images, searching and listing: what tools and commands share."""
