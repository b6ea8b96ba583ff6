package soak

import "math/rand/v2"

// scenario is something that clients do. It gives an error when that did not go as it has to.
type scenario struct {
	name   string
	weight int // how often, compared with the others
	slow   bool
	run    func(*attempt) error
}

// scenarios are all of them. The slow ones wait for hellogate's deadlines.
var scenarios = []scenario{
	{name: "handshake and echo", weight: 30, run: handshakeAndEcho},
	{name: "resumption", weight: 15, run: resumption},
	{name: "round trips", weight: 8, run: roundTrips},
	{name: "long round trips", weight: 6, run: longRoundTrips},
	{name: "bulk down", weight: 4, run: bulkDown},
	{name: "bulk up", weight: 4, run: bulkUp},
	{name: "bulk both ways", weight: 3, run: bulkBothWays},
	{name: "bulk echo", weight: 3, run: bulkEcho},
	{name: "bytes one by one", weight: 4, run: bytesOneByOne},
	{name: "all in one segment", weight: 6, run: allInOneSegment},
	{name: "segments of a byte", weight: 4, run: segmentsOfAByte},
	{name: "client reads slowly", weight: 3, run: clientReadsSlowly},
	{name: "backend reads slowly", weight: 3, run: backendReadsSlowly},
	{name: "nobody reads at first", weight: 2, run: nobodyReadsAtFirst},
	{name: "client ends first", weight: 6, run: clientEndsFirst},
	{name: "backend ends first", weight: 6, run: backendEndsFirst},
	{name: "client ends without close_notify", weight: 4, run: clientTruncates},
	{name: "client resets before a word", weight: 3, run: clientResetsBeforeAWord},
	{name: "client resets while idle", weight: 3, run: clientResetsWhileIdle},
	{name: "client resets while it downloads", weight: 3, run: clientResetsDownload},
	{name: "client resets behind full buffers", weight: 2, run: clientResetsFull},
	{name: "client resets while it uploads", weight: 3, run: clientResetsUpload},
	{name: "client resets, backend reads later", weight: 2, run: clientResetsUntaken},
	{name: "client resets, nothing is lost", weight: 3, run: clientResetsBehind},
	{name: "client resets after its end", weight: 3, run: clientResetsAfterEnd},
	{name: "backend resets at once", weight: 3, run: backendResetsAtOnce},
	{name: "backend resets behind what it sent", weight: 4, run: backendResetsBehind},
	{name: "backend resets, nothing is lost", weight: 3, run: backendResetsUntaken},
	{name: "backend resets while it sends", weight: 3, run: backendResetsSending},
	{name: "backend resets behind full buffers", weight: 2, run: backendResetsFull},
	{name: "backend resets while the client uploads", weight: 3, run: backendResetsUpload},
	{name: "backend resets after its end", weight: 3, run: backendResetsAfterEnd},
	{name: "backend resets after the client's end", weight: 3, run: backendResetsAfterClientsEnd},
	{name: "idle too long", weight: 2, slow: true, run: idleTooLong},
	{name: "half closed too long", weight: 2, slow: true, run: halfClosedTooLong},
	{name: "full buffers too long", weight: 1, slow: true, run: fullTooLong},
	{name: "unknown name", weight: 4, run: unknownName},
	{name: "no name", weight: 2, run: noName},
	{name: "nothing sent", weight: 2, slow: true, run: nothingSent},
	{name: "hello stalls", weight: 2, slow: true, run: helloStalls},
	{name: "handshake stalls", weight: 2, slow: true, run: handshakeStalls},
	{name: "garbage", weight: 3, run: garbage},
	{name: "hello cut off", weight: 3, run: helloCutOff},
	{name: "closed at once", weight: 3, run: closedAtOnce},
}

// pick takes one by lot.
func (w *world) pick(rng *rand.Rand) scenario {
	total := 0
	for _, s := range w.scenarios {
		total += s.weight
	}
	lot := rng.IntN(total)
	for _, s := range w.scenarios {
		if lot -= s.weight; lot < 0 {
			return s
		}
	}
	panic("not reached")
}
