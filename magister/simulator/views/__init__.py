"""How the market's offers and instances are shown in Vast's own fields.

Nothing here changes the market. Begin with `offer` and `instance`.
"""
