"""The languages of a world: words for colours, and what people write around the words for a product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Language:
    """Words of one language.

    `colours[c]` are the words for colour c of `catalog.COLOURS`. Fillers say nothing of what is wanted; those
    of `before` stand in front of a query.
    """

    colours: tuple[Words, ...]
    query_filler: Words
    before: frozenset[str]
    title_filler: Words
    ocr_filler: Words
    asr_filler: Words
    goes_with: str
    """A remark on another product, with a place for its name."""
    spaced: bool = True
    """Whether a space stands between any two words."""
    shortest_slip: int = 5
    """Letters of the shortest word in which a finger slips."""

    def joined(self, words: Sequence[str], brands: Sequence[str] = ()) -> str:
        """A query or keyword of these words; Chinese writes what belongs together without a space."""
        if self.spaced:
            return " ".join(words)
        tight = {*self.before, *(word for own in self.colours for word in own)}
        text = words[0]
        for left, right in pairwise(words):
            text += right if left in tight and right not in brands else f" {right}"
        return text


ENGLISH = Language(
    colours=(
        ("red", "scarlet"), ("orange", "tangerine"), ("yellow", "golden"), ("green", "emerald"),
        ("turquoise", "aqua"), ("blue", "navy"), ("purple", "violet"), ("pink", "rose"),
        ("brown", "chestnut"), ("black", "ebony"),
    ),
    query_filler=("buy", "cheap", "best", "for sale", "near me", "online", "deal", "price", "review", "new"),
    before=frozenset(("buy", "cheap", "best", "new")),
    title_filler=(
        "today only", "limited offer", "new arrival", "best seller", "free shipping", "just dropped",
        "must have", "big sale", "half price", "top quality", "official store", "season special",
        "last chance", "loved by many", "factory direct",
    ),
    ocr_filler=(
        "tap to shop", "link below", "save now", "order now", "follow us", "swipe up", "shop the look",
        "use code hello", "five stars", "only here", "live now", "in stock", "open daily", "see more",
    ),
    asr_filler=(
        "hey everyone welcome back", "you have to see this", "i was not expecting that", "let me show you",
        "trust me on this one", "do not miss it", "my family loves it", "we tried it for a week",
        "wait until the end", "this changed my mornings", "people keep asking me", "honestly it is great",
        "look at the details", "thank you for watching",
    ),
    goes_with="goes well with {}",
)  # fmt: skip

CHINESE = Language(
    colours=(
        ("红色", "朱红色"),
        ("橙色", "橘色"),
        ("黄色", "金黄色"),
        ("绿色", "翠绿色"),
        ("青色", "青绿色"),
        ("蓝色", "深蓝色"),
        ("紫色", "紫罗兰色"),
        ("粉色", "粉红色"),
        ("棕色", "咖啡色"),
        ("黑色", "墨色"),
    ),
    query_filler=("买", "便宜的", "特价", "新款", "哪里买", "包邮", "优惠", "价格", "评测", "正品"),
    before=frozenset(("买", "便宜的", "特价", "新款")),
    title_filler=(
        "仅限今天",
        "限时特惠",
        "新品上市",
        "热销爆款",
        "全国包邮",
        "刚刚上架",
        "必买清单",
        "年终大促",
        "半价清仓",
        "品质保证",
        "官方旗舰店",
        "当季特供",
        "最后机会",
        "万人好评",
        "工厂直销",
    ),
    ocr_filler=(
        "点击购买",
        "链接在下方",
        "立即省钱",
        "马上下单",
        "关注我们",
        "上滑查看",
        "同款在这里",
        "输入优惠码",
        "五星好评",
        "仅此一家",
        "正在直播",
        "现货供应",
        "每天营业",
        "了解更多",
    ),
    asr_filler=(
        "大家好欢迎回来",
        "这个一定要看",
        "真的没想到",
        "给你们看一下",
        "这次相信我",
        "千万不要错过",
        "我们全家都喜欢",
        "我们试用了一个星期",
        "请看到最后",
        "它改变了我的早晨",
        "很多人一直在问",
        "说实话非常好",
        "看看这些细节",
        "谢谢大家观看",
    ),
    goes_with="和{}很配",
    spaced=False,
    shortest_slip=3,
)
