package terminate

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"
)

// direction is one way of a splice.
type direction struct {
	*splice
	from, to *stream
	moved    *atomic.Int64
	until    time.Time // the write deadline
	onRead   func(fd uintptr) bool
	buffer   *buffer // borrowed from read to write
	n        int
	err      error
}

func (s *splice) direction(from, to *stream, moved *atomic.Int64) *direction {
	d := &direction{splice: s, from: from, to: to, moved: moved}
	d.onRead = from.readable(d.read)
	return d
}

// run moves bytes until the stream it reads from is over, and passes the end on.
func (d *direction) run() {
	for {
		err := d.turn()
		switch {
		case err == nil:
		case isReadTimeout(err) && !d.failed() && d.patient():
		default:
			d.end(err)
			return
		}
	}
}

// isReadTimeout reports whether err is a read's deadline. A write's is final: part of its bytes may have been sent.
func isReadTimeout(err error) bool {
	_, isWrite := errors.AsType[writeError](err)
	return !isWrite && errors.Is(err, os.ErrDeadlineExceeded)
}

// patient reports whether a deadline came too early because bytes moved meanwhile, and then sets the next.
func (d *direction) patient() bool {
	rest := d.patience()
	if rest <= 0 {
		return false
	}
	_ = d.from.SetReadDeadline(time.Now().Add(rest))
	d.rewake(d.from)
	return true
}

// rewake wakes a side again whose deadline was moved while the splice failed.
func (d *direction) rewake(side *stream) {
	if d.failed() {
		side.wake()
	}
}

// turn waits for bytes and moves them.
func (d *direction) turn() error {
	if d.from.raw == nil {
		d.read()
	} else if err := d.from.whenReadable(d.onRead); err != nil {
		return err
	}
	defer d.release()
	if d.n > 0 {
		if err := d.write((*d.buffer)[:d.n]); err != nil {
			return err
		}
	}
	return d.err
}

// fullRecord is the plaintext of a full TLS record. Where one came, another is likely to be there.
const fullRecord = 16 << 10

// read borrows a buffer and fills it with what is there; when there is nothing, it gives the buffer back.
func (d *direction) read() bool {
	d.buffer = buffers.Get().(*buffer)
	d.n, d.err = d.from.Read(d.buffer[:])
	if d.n == fullRecord && d.err == nil && d.from.instant {
		var n int
		n, d.err = d.from.Read(d.buffer[d.n:])
		d.n += n
	}
	if d.err != errNothingYet {
		return true
	}
	d.err = nil
	if d.n == 0 {
		d.release()
	}
	return d.n > 0
}

func (d *direction) release() {
	if d.buffer != nil {
		buffers.Put(d.buffer)
		d.buffer = nil
	}
}

// writeError says that the side written to failed, not the one read from.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

func (d *direction) write(p []byte) error {
	d.touch()
	d.extend()
	n, err := d.to.Write(p)
	d.moved.Add(int64(n))
	if err != nil {
		return writeError{err}
	}
	d.touch()
	return nil
}

// extend moves the write deadline, seldom: a timer at each write would cost more than it is worth. A write may stall
// for at least as long as nothing may move, and at most a quarter longer.
func (d *direction) extend() {
	most, now := d.most(), time.Now()
	if left := d.until.Sub(now); left > most && left <= most+most/4 {
		return
	}
	d.until = now.Add(most + most/4)
	_ = d.to.SetWriteDeadline(d.until)
	d.rewake(d.to)
}

// end passes on how the stream ended.
func (d *direction) end(err error) {
	write, isWrite := errors.AsType[writeError](err)
	switch {
	case d.failed(): // whoever failed it decides
	case errors.Is(err, os.ErrDeadlineExceeded):
		d.fail(d.stallReason(), err)
	case isWrite: // the other direction reads what is left, and finds the end
		d.to.breaks(write.error)
	case err == io.EOF && d.endsCleanly():
		d.passEnd()
	default:
		d.fail(d.abortReason(err), err)
		d.from.isBroken.Store(true)
	}
}

// endsCleanly reports whether an end of stream is one to pass on as such.
func (d *direction) endsCleanly() bool {
	return !d.from.isBroken.Load() && !(d.resetTruncated && d.from.truncated())
}

// passEnd tells the other side that nothing more comes. From now on the other direction has half the patience, with the
// write that may be under way too.
func (d *direction) passEnd() {
	d.touch()
	err := d.to.closeWrite(d.half)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		d.fail(ReasonIdle, err) // a plain close would look like a cut stream, and pass for an orderly end here
		return
	}
	// Any other error is the other direction's to find: the peer is gone, or has all that it wanted.
	d.ended.Add(1)
	now := time.Now()
	_ = d.to.SetReadDeadline(now.Add(d.half))
	_ = d.from.Conn.SetWriteDeadline(now.Add(d.half + d.half/4)) // also while the other direction ends
	d.rewake(d.to)
	d.rewake(d.from)
}

// stallReason says who is to blame for a direction that stands still. The side it reads from may be gone, which it could
// not see while the other side took nothing.
func (d *direction) stallReason() Reason {
	if over(d.from.raw) {
		return d.from.onReset
	}
	return ReasonIdle
}

// abortReason says why a stream that did not end cleanly ended.
func (d *direction) abortReason(err error) Reason {
	if d.from.truncated() && (err == io.EOF || err == io.ErrUnexpectedEOF) {
		return ReasonTruncated
	}
	return d.from.onReset
}
