import hashlib
from songs import song, pcm


async def test_smoke(chorale, tmp_path):
    wav = song(frame_count=3_000_00)
    a = await chorale.put(wav, file_name="x.wav")
    assert a.name == "audio/" + hashlib.sha256(wav).hexdigest()
    got = b"".join([f.pcm async for f in chorale.read_frames(a)])
    assert got == pcm(wav)
    p = await chorale.get(a, tmp_path)
    assert p.read_bytes() == wav
    assert [x.name async for x in chorale.list()] == [a.name]
    assert (await chorale.engines("ingest"))[0].name == "wave"
    print(await chorale.delete(a))
