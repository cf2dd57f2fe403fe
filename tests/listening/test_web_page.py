"""The HTML around a test: whole, closed, and with nothing from elsewhere."""

import json
import re

from mssedu.listening.test.web_page import local_page, remote_page

TEST = {"title": "</script><b>Ears & eyes</b>", "sounds": []}


def test_texts_of_the_test_stay_texts():
    for page in (remote_page(TEST["title"]), local_page(TEST)):
        assert (
            "<title>&lt;/script&gt;&lt;b&gt;Ears &amp; eyes&lt;/b&gt;</title>" in page
        )
        assert page.count("</script>") == 2
        (data,) = re.findall(r'type="application/json">(.*)</script>', page)
        assert json.loads(data)["title"] == TEST["title"]


def test_nothing_is_loaded_from_elsewhere():
    for page in (remote_page("?"), local_page(TEST)):
        assert not re.search(r"https?:|src=|<link|^import |@import|url\(", page, re.M)


def test_each_page_has_its_desk():
    assert "openTest(remoteDesk, test.title" in remote_page("?")
    assert "class LocalDesk" not in remote_page("?")
    assert "openTest(new LocalDesk(test, localStorage), test.title" in local_page(TEST)
    assert "remoteDesk" not in local_page(TEST)
