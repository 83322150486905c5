"""The words that random homes and sentences are made of (English)."""

from __future__ import annotations

from typing import Final

FLOORS: Final = (
    "Ground floor", "First floor", "Second floor", "Upstairs", "Downstairs", "Basement", "Attic", "Upper floor",
    "Lower floor", "Main floor", "Top floor", "Cellar", "Third floor", "Outside",
)  # fmt: skip
AREAS: Final = (
    "Kitchen", "Living room", "Living Room", "Bedroom", "Office", "Garage", "Hallway", "Bathroom", "Garden", "Attic",
    "Basement", "Dining room", "Dining Room", "Guest room", "Nursery", "Study", "Laundry room", "Laundry", "Pantry",
    "Porch", "Patio", "Balcony", "Terrace", "Entrance", "Entry", "Library", "Workshop", "Shed", "Cellar", "Den",
    "Playroom", "Game room", "Gym", "Master bedroom", "Kids room", "Guest bathroom", "Sunroom", "Closet",
    "Utility room", "Conservatory", "Loft", "Foyer", "Stairs", "Landing", "Corridor", "Lounge", "Media room",
    "Music room", "Spare room", "Toilet", "Driveway", "Front yard", "Backyard", "Pool", "Sauna", "Greenhouse",
    "Studio", "Family room", "Hall", "Boiler room", "Storage", "Wardrobe", "Mudroom", "Home office", "Bedroom 2",
    "Upstairs bathroom", "Wine cellar",
)  # fmt: skip
PEOPLE: Final = (
    "Anna", "Ben", "Clara", "David", "Emma", "Finn", "Grace", "Henry", "Ida", "Jonas", "Kate", "Leo", "Mia", "Noah",
    "Olivia", "Paul", "Quinn", "Rosa", "Sam", "Tom", "Uma", "Vera", "Will", "Xenia", "Yara", "Zach", "Lily", "Oscar",
    "Max", "Sophie", "Peter", "Lukas", "Marie", "Nina", "Hugo", "Ella", "Theo", "Alice", "Jack", "Ruby", "Dad", "Mum",
    "Grandma", "Charlie", "Amelia", "Isla", "Freddie", "Poppy", "Arthur", "Elsa",
)  # fmt: skip
ADJECTIVES: Final = (
    "Left", "Right", "Main", "Small", "Big", "Old", "New", "Front", "Back", "Upper", "Lower", "Tall", "Corner",
    "Smart", "White", "Red", "Blue", "Green", "Yellow", "Vintage", "Outdoor", "Indoor", "North", "South", "East",
    "West", "Round", "Mini", "Spare", "Second", "Secret", "Inner", "Outer", "Side", "Middle", "Glass", "Wooden",
    "Golden",
)  # fmt: skip
LIGHT_NOUNS: Final = (
    "light", "lights", "lamp", "ceiling light", "floor lamp", "table lamp", "desk lamp", "bedside lamp", "spotlights",
    "LED strip", "chandelier", "pendant", "wall light", "reading lamp", "night light", "downlights", "string lights",
    "lantern", "strip", "standing lamp", "sconce", "uplighter", "fairy lights", "counter lights", "cabinet lights",
    "mirror light", "bulb", "spot", "reading light", "nightlight", "bed light", "under cabinet lights", "lava lamp",
)  # fmt: skip
SWITCH_NOUNS: Final = (
    "coffee maker", "coffee machine", "espresso machine", "kettle", "toaster", "printer", "heater", "dishwasher",
    "washing machine", "dryer", "plug", "outlet", "socket", "pump", "fountain", "sprinkler", "router", "charger",
    "air purifier", "dehumidifier", "humidifier", "aquarium", "Christmas tree", "electric blanket", "rice cooker",
    "slow cooker", "microwave", "freezer", "fridge", "computer", "monitor", "scanner", "game console", "projector",
    "soundbar", "doorbell", "alarm siren", "towel warmer", "water heater", "irrigation", "server", "desk", "iron",
    "bug zapper", "hot tub", "air freshener", "extractor", "oven", "power strip", "3D printer", "waffle iron",
    "boiler",
)  # fmt: skip
COVERS: Final = (
    ("blinds", "blind"), ("blind", "blind"), ("curtains", "curtain"), ("curtain", "curtain"), ("shades", "shade"),
    ("shutters", "shutter"), ("shutter", "shutter"), ("awning", "awning"), ("roller blind", "blind"),
    ("garage door", "garage"), ("gate", "gate"), ("door", "door"), ("window", "window"), ("skylight", "window"),
    ("roller shutter", "shutter"), ("drapes", "curtain"), ("roof window", "window"), ("venetian blinds", "blind"),
)  # fmt: skip
LOCK_NOUNS: Final = (
    "front door", "back door", "door", "door lock", "lock", "side door", "garage lock", "gate lock", "patio door",
    "cellar door", "main door", "entrance door", "smart lock", "shed lock", "safe", "deadbolt", "porch door",
)  # fmt: skip
MEDIA_NOUNS: Final = (
    "TV", "television", "speaker", "speakers", "radio", "stereo", "sound system", "soundbar", "Sonos", "receiver",
    "music player", "HomePod", "Echo", "Apple TV", "Chromecast", "turntable", "jukebox", "media player",
    "smart speaker",
)  # fmt: skip
VACUUM_NOUNS: Final = (
    "robot vacuum", "vacuum", "Roomba", "Roborock", "vacuum cleaner", "robot", "hoover", "cleaner", "Dusty", "Rosie",
    "cleaning robot", "Deebot", "robot cleaner", "sweeper",
)  # fmt: skip
FAN_NOUNS: Final = (
    "fan", "ceiling fan", "ventilator", "exhaust fan", "tower fan", "desk fan", "standing fan", "extractor fan",
)  # fmt: skip
CLIMATE_NOUNS: Final = (
    "thermostat", "heating", "radiator", "heater", "air conditioner", "AC", "air conditioning", "climate",
    "heat pump", "underfloor heating", "HVAC", "radiators", "boiler",
)  # fmt: skip
LISTS: Final = (
    "Shopping list", "Groceries", "To-do", "Tasks", "Grocery list", "Todo list", "Chores", "Packing list",
    "Wish list", "Shopping", "Errands", "Hardware store", "Weekend", "Gift ideas", "House projects", "My tasks",
    "To do list",
)  # fmt: skip
SENSORS: Final = (
    ("temperature", "temperature", "°C", 5, 30), ("humidity", "humidity", "%", 20, 90),
    ("power", "power", "W", 0, 2000), ("battery", "battery", "%", 1, 100),
    ("CO2", "carbon_dioxide", "ppm", 400, 1800), ("energy", "energy", "kWh", 0, 90),
    ("pressure", "pressure", "hPa", 980, 1040), ("illuminance", "illuminance", "lx", 0, 900),
    ("outdoor temperature", "temperature", "°C", -15, 38), ("water temperature", "temperature", "°C", 8, 60),
)  # fmt: skip
BINARY_SENSORS: Final = (
    ("window", "window"), ("door", "door"), ("motion", "motion"), ("garage door sensor", "garage_door"),
    ("leak", "moisture"), ("smoke alarm", "smoke"), ("presence", "occupancy"), ("skylight", "window"),
    ("motion sensor", "motion"), ("door sensor", "door"), ("window sensor", "window"), ("balcony door", "door"),
)  # fmt: skip
ITEMS: Final = (
    "milk", "eggs", "bread", "butter", "cheese", "apples", "bananas", "coffee", "tea", "sugar", "flour", "rice",
    "pasta", "tomatoes", "onions", "garlic", "potatoes", "carrots", "chicken", "fish", "yogurt", "cereal",
    "orange juice", "toilet paper", "paper towels", "dish soap", "laundry detergent", "batteries", "light bulbs",
    "dog food", "cat litter", "olive oil", "salt", "pepper", "honey", "jam", "chocolate", "cookies", "ice cream",
    "wine", "beer", "water", "lemons", "avocados", "spinach", "lettuce", "cucumbers", "mushrooms", "beans", "tofu",
    "oat milk", "almonds", "peanut butter", "toothpaste", "shampoo", "sponges", "trash bags", "call the plumber",
    "water the plants", "pay the rent", "book the dentist", "clean the gutters", "mow the lawn", "fix the bike",
    "wash the car", "buy a present for Emma", "renew the passport", "take out the trash", "screws", "paint",
    "sandpaper", "strawberries", "grapes", "ham", "sausages", "ketchup", "mustard", "noodles", "soy sauce", "ginger",
    "celery", "broccoli", "napkins", "candles", "a birthday card", "stamps", "vacuum bags", "cream cheese",
    "sour cream", "maple syrup", "frozen pizza", "tuna", "tissues", "soap", "washing powder", "parmesan", "basil",
    "feta", "oranges", "pears", "a new broom", "dishwasher tabs",
)  # fmt: skip
ITEM_KINDS: Final = (
    "pasta", "tomato", "garlic", "chicken", "vegetable", "fish", "apple", "lemon", "orange", "cherry", "peach", "baby",
    "kitchen", "garden", "dish", "hand", "hair", "face", "paper", "plastic", "wooden", "metal", "red", "green", "brown",
    "white", "dark", "fresh", "frozen", "dried", "smoked", "salted", "sweet", "spicy", "mild", "whole", "sliced",
    "organic", "cheap", "large", "small", "instant", "almond", "coconut", "soy", "rice", "corn", "wheat", "oat", "rye",
    "sesame", "sunflower", "pumpkin", "walnut", "hazelnut", "pistachio", "vanilla", "caramel", "cinnamon", "mint",
    "chili", "curry", "herb", "onion", "potato", "carrot", "cabbage", "bean", "lentil", "beef", "pork", "turkey",
    "lamb", "salmon", "shrimp", "goat", "sheep", "blue", "cottage", "cooking", "baking", "washing", "cleaning",
    "shaving", "sun", "night", "travel", "school", "birthday", "winter", "dog", "cat", "bird", "toilet", "bath",
)  # fmt: skip
ITEM_THINGS: Final = (
    "sauce", "soup", "juice", "oil", "powder", "paste", "cream", "butter", "bread", "rolls", "cake", "pie", "chips",
    "crackers", "flakes", "seeds", "nuts", "beans", "salad", "dressing", "dip", "spread", "jam", "syrup", "tea",
    "milk", "cheese", "ham", "fillets", "wings", "noodles", "spaghetti", "lasagna", "ravioli", "tortillas", "bagels",
    "muffins", "croissants", "waffles", "pancakes", "pudding", "jelly", "candy", "gum", "popcorn", "vinegar",
    "mayonnaise", "peppers", "zucchini", "eggplant", "cauliflower", "asparagus", "leeks", "radishes", "parsley",
    "thyme", "rosemary", "oregano", "cumin", "paprika", "nutmeg", "yeast", "starch", "gelatin", "raisins", "dates",
    "figs", "plums", "mangos", "kiwis", "melon", "pineapple", "blueberries", "raspberries", "towels", "napkins",
    "foil", "wrap", "bags", "boxes", "cups", "plates", "spoons", "straws", "matches", "glue", "tape", "string",
    "nails", "hooks", "wires", "brush", "bucket", "gloves", "cloths", "detergent", "bleach", "polish", "lotion",
    "deodorant", "razors", "floss", "bandages", "vitamins", "aspirin", "ointment", "diapers", "wipes", "toys",
    "pencils", "envelopes", "notebooks", "magazines", "flowers", "soil", "fertilizer", "pots", "litter", "treats",
)  # fmt: skip
COLORS: Final = (
    "red", "green", "blue", "yellow", "purple", "orange", "pink", "white", "cyan", "magenta", "turquoise", "violet",
    "gold", "lime", "teal", "lavender", "coral", "salmon", "indigo",
)  # fmt: skip
INVENTED_SYLLABLES: Final = (
    "ba", "ko", "zu", "mi", "ra", "ne", "lo", "vi", "ta", "shi", "gru", "fen", "dor", "pex", "quil", "wob", "jax",
    "thu", "sky", "bri", "cle", "ond", "yra", "umb", "ex", "ion", "az", "or", "el", "ith", "mond", "stra", "vel",
    "kip", "nox",
)  # fmt: skip
