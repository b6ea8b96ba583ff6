package soak

import (
	"fmt"
	"strings"
	"time"
)

// verb is one thing that a side does.
type verb string

const (
	take   verb = "take"   // read so many bytes of the pattern
	end    verb = "end"    // read the orderly end, and nothing before it
	cut    verb = "cut"    // read on, bytes of the pattern alone, until a reset, which has to come
	give   verb = "give"   // write so many bytes of the pattern, in pieces of all sizes
	drip   verb = "drip"   // the same, a byte at a time
	push   verb = "push"   // write on until a reset, which has to come
	finish verb = "finish" // end what is written: close_notify, FIN
	fin    verb = "fin"    // the same without a close_notify
	reset  verb = "reset"  // reset the connection
	pause  verb = "pause"  // do nothing for a time
	join   verb = "join"   // wait until the other script of this side is through
	trips  verb = "trips"  // write 64 bytes and read them back, so many times, with pauses between
	echo   verb = "echo"   // write what is read, until its end
)

// step is a verb with what it needs.
type step struct {
	Do    verb
	Bytes int64         `json:",omitempty"` // or round trips
	For   time.Duration `json:",omitempty"`
}

func (s step) String() string {
	text := string(s.Do)
	if s.Bytes > 0 {
		text += fmt.Sprintf(" %d", s.Bytes)
	}
	if s.For > 0 {
		text += fmt.Sprintf(" %v", s.For)
	}
	return text
}

// script is what is done with one direction, in order.
type script []step

func (s script) String() string {
	var steps []string
	for _, step := range s {
		steps = append(steps, step.String())
	}
	return strings.Join(steps, ", ")
}

// side is what one end of a connection does: with what it reads and with what it writes, at the same time.
type side struct{ Read, Write script }

// order is what the client tells the backend first, in one line.
type order struct {
	Scenario string
	Number   uint64
	Name     string // that the client asked for
	Client   string // its address
	Side     side   // the backend's
}

// The patterns of a connection: the client's, the backend's.
func upKey(number uint64) uint64   { return 2 * number }
func downKey(number uint64) uint64 { return 2*number + 1 }
