package terminate

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"hellogate/terminate/socket"
)

// direction is one way of a splice.
type direction struct {
	*splice
	from, to *stream
	header   []byte       // goes before the first byte, and with it where it is already there
	moved    atomic.Int64 // bytes; read by others, too
	at       phase
	bulk     int       // how many turns in a row had a buffer full
	watch    *keyWatch // of what is read; nil: nobody looks at it
	took     time.Time // when the receiver last took something
	left     int       // what it had not taken then
}

// phase is how far a direction is.
type phase uint8

const (
	flowing phase = iota
	ending        // the stream it reads from is over, which the other side is being told
	over
)

// turn moves what is there, a buffer of it at most, and reports whether there may be more. What the receiving side has
// not taken yet comes first: until then nothing more is read for it.
func (d *direction) turn(buffer *socket.Buffer) (more bool) {
	if d.at == over || !d.sent() || d.from.burdened() && !d.from.isBroken {
		return false
	}
	if d.at == ending {
		d.finish()
		return false
	}
	if d.bulk >= bulkTurns && d.canSplice() {
		return d.turnInKernel()
	}
	header := copy(buffer[:], d.header)
	n, err := d.read(buffer[header:])
	if d.header = d.header[header:]; len(d.header) == 0 {
		d.header = nil
	}
	if d.watch != nil && n > 0 && d.watch.see(buffer[header:header+n]) {
		d.watch = nil
	}
	if d.bulk++; n < len(buffer) {
		d.bulk = 0
	}
	if !d.write(buffer[:header+n], n) {
		return false
	}
	if err != nil && err != socket.ErrNothingYet {
		d.end(err)
	}
	return err == nil
}

// bulkTurns is how many full buffers in a row are bulk: below that a read and a write cost less than two splices. It ends
// with a splice of less than a full record, and not with a pause: who is faster than its peers waits for each piece. Where
// the kernel could not move the bytes by itself, copiedTurns are copied before it is asked again.
const (
	bulkTurns   = 4
	copiedTurns = 64
)

// canSplice reports whether the kernel can move the bytes by itself: they are not to be looked at.
func (d *direction) canSplice() bool {
	return d.from.session == nil && d.to.session == nil && d.watch == nil && len(d.header) == 0 && len(d.from.unread) == 0
}

// turnInKernel is a turn in which the bytes don't come here.
func (d *direction) turnInKernel() (more bool) {
	n, err, writeErr := d.from.spliceTo(&d.to.transport)
	if n > 0 {
		d.last = d.now
		d.moved.Add(int64(n))
		d.waits()
		if n < fullRecord {
			d.bulk = 0
		}
	}
	switch {
	case writeErr != nil:
		d.breaks(writeErr)
		return false
	case err == errors.ErrUnsupported:
		d.bulk = -copiedTurns
		return true
	case err == socket.ErrNothingYet:
		return false
	case err != nil:
		d.end(err)
		return false
	}
	return true
}

// stalled is since when the receiver has taken nothing of what waits for it; zero: nothing waits.
func (d *direction) stalled() time.Time {
	if d.at == over || d.to.Queued() == 0 {
		return time.Time{}
	}
	return d.took
}

// takes notes whether the receiver has taken some of what waits for it since it was last seen to. The kernel tells of room
// when there is much: a slow reader takes minutes for that, and is none that stands still.
func (d *direction) takes() {
	if d.stalled().IsZero() {
		return
	}
	if left := d.to.Queued() + d.to.Unsent(); left < d.left {
		d.last, d.took, d.left = d.now, d.now, left
	}
}

// waits notes what the receiver takes from now on.
func (d *direction) waits() {
	if d.took = d.now; d.to.Queued() > 0 {
		d.left = d.to.Queued() + d.to.Unsent()
	}
}

// sent reports whether everything written has been sent.
func (d *direction) sent() bool {
	before := d.to.Queued()
	if before == 0 {
		return true
	}
	if err := d.to.Flush(); err != nil {
		d.breaks(err)
		return false
	}
	left := d.to.Queued()
	if left < before {
		d.last = d.now
		d.waits()
	}
	return left == 0
}

// mostReads bounds the records of a turn. A client may send its bytes one by one, with KeyUpdates between them, and each
// costs as much as one that is full.
const mostReads = 8

// read fills a buffer with what is there.
func (d *direction) read(p []byte) (n int, err error) {
	for reads := 0; reads < mostReads && n < len(p) && err == nil; reads++ {
		var k int
		k, err = d.from.Read(p[n:])
		n += k
	}
	return n, err
}

// write passes on what was read, n bytes besides the header.
func (d *direction) write(p []byte, n int) bool {
	if len(p) == 0 {
		return true
	}
	d.last = d.now
	if _, err := d.to.Write(p); err != nil {
		d.breaks(err)
		return false
	}
	d.waits()
	d.moved.Add(int64(n))
	return true
}

// breaks ends the direction because its receiver is gone. The other direction reads what that one still sent, and finds
// the end.
func (d *direction) breaks(err error) {
	d.to.breaks(err)
	d.at = over
}

// end passes on how the stream ended.
func (d *direction) end(err error) {
	if err == io.EOF && d.endsCleanly() {
		d.passEnd()
		return
	}
	d.fail(d.abortReason(err), d.abortCause(err))
	d.from.isBroken = true
}

// endsCleanly reports whether an end of stream is one to pass on as such. What a server ends without a close_notify is cut
// short: its client must not be told of an end that the server may never have meant.
func (d *direction) endsCleanly() bool {
	return !d.from.isBroken && !(d.from.truncated() && (d.resetTruncated || d.from == d.backend))
}

var errNoCloseNotify = errors.New("the stream ended without a close_notify")

func (d *direction) abortCause(err error) error {
	if err == io.EOF && d.from.truncated() {
		return errNoCloseNotify
	}
	return err
}

// passEnd tells the other side that nothing more comes. An error is the other direction's to find: the peer is gone, or
// has all that it wanted. From now on either direction has half the patience.
func (d *direction) passEnd() {
	if err := d.to.sayEnd(); err != nil {
		d.at = over
		return
	}
	d.at, d.halved = ending, true
	d.last, d.up.took, d.down.took = d.now, d.now, d.now
	if d.sent() {
		d.finish()
	}
}

// finish sends the FIN.
func (d *direction) finish() {
	_ = d.to.shutdown()
	d.at, d.last = over, d.now
}

// abortReason says why a stream that did not end cleanly ended.
func (d *direction) abortReason(err error) Reason {
	if d.from.truncated() && (err == io.EOF || err == io.ErrUnexpectedEOF) {
		return ReasonTruncated
	}
	return d.from.onReset
}
