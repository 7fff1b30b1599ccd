"""256 everyday words, one per byte, chosen to sound and look apart."""

TEXT = """
acorn acrobat airport alarm album almond amber anchor angle ankle antler apple apricot arch
arrow artist atlas attic autumn avocado badge badger bagel bakery balcony bamboo banana
banjo barrel basket beach beaver bench berry bicycle birch biscuit blanket blossom bottle
bowl branch bread breeze brick bridge broom bucket buffalo cabin cactus camel camera canal
candle canoe canyon carpet carrot castle cherry chimney cinema circle cliff clock cloud
clover coconut comet compass copper coral cotton crane crayon cricket crown crystal curtain
daisy dancer desert diamond dolphin donkey door dragon drum eagle elbow elephant engine
falcon feather fence fern fiddle finger flag flute forest fossil fountain fox garden garlic
gate ginger giraffe glacier globe glove goose granite grape guitar hammer harbor harp hazel
hedge helmet heron hill honey horizon hotel igloo island jacket jaguar jasmine jelly jewel
journal jungle kayak kettle kitchen kite kiwi koala ladder lagoon lake lantern lemon lentil
leopard library lighthouse lizard lobster magnet mango maple marble market meadow melon
mirror mitten monkey moon mosaic mountain mustard napkin needle nest nutmeg oak oasis ocean
olive onion orbit orchard otter oven owl oyster paddle palace panda paper parrot peach
peacock pebble pencil penguin pepper piano pickle pigeon pillow pirate planet plum pocket
pony poppy potato puzzle pyramid quartz rabbit radio rainbow raven ribbon river robin
rocket salmon scarf school shadow shell shovel silver snow spoon stairs summer sunset swan
tailor teapot temple thunder ticket tiger tomato tower train tulip tunnel turtle umbrella
valley velvet village violin volcano wagon walnut whale willow window winter wizard yogurt
zebra
"""
WORDS = tuple(TEXT.split())
