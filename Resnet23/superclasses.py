"""The families that the classes of a data set belong to, where its authors published any."""

from collections.abc import Iterable

# CIFAR-100: 20 superclasses of 5 classes, the files' coarse labels. Krizhevsky, "Learning Multiple Layers of Features
# from Tiny Images" (2009).
CIFAR100_SUPERCLASSES = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}

# data.dataset -> {class: superclass}
SUPERCLASSES = {
    "cifar100": {name: family for family, names in CIFAR100_SUPERCLASSES.items() for name in names.split()},
}


def find_superclasses(dataset: str, classes: Iterable[str]) -> dict[str, str]:
    """The superclass of each of these classes, in their order; empty for a data set without superclasses."""
    published = SUPERCLASSES.get(dataset)
    return {name: published[name] for name in classes} if published else {}
