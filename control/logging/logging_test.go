package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer is a sink that tests can read while it is written, and that can be made to fail.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	err  error
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	return b.text.Write(p)
}

func (b *buffer) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func open(t *testing.T, sink io.Writer, level, format string) *Log {
	t.Helper()
	log, err := New(sink, level, format)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestJSONLine(t *testing.T) {
	var sink buffer
	log := open(t, &sink, "info", JSON)
	log.Debug().Msg("not shown")
	log.Info().Str("name", "a.example").Msg("hello")
	log.Close()
	var line map[string]string
	if err := json.Unmarshal([]byte(sink.String()), &line); err != nil {
		t.Fatalf("%v: %q", err, sink.String())
	}
	if line["level"] != "info" || line["name"] != "a.example" || line["message"] != "hello" {
		t.Errorf("got %v", line)
	}
	if _, err := time.Parse(time.RFC3339, line["time"]); err != nil {
		t.Error(err)
	}
}

func TestTextLineHasNoColoursInAFile(t *testing.T) {
	var sink buffer
	log := open(t, &sink, "info", Text)
	log.Warn().Str("name", "a.example").Msg("hello")
	log.Close()
	if got := sink.String(); !strings.HasSuffix(got, " WRN hello name=a.example\n") || strings.Contains(got, "\x1b") {
		t.Errorf("got %q", got)
	}
}

func TestOnlyASCIILeaves(t *testing.T) {
	const tricky = "a\u202egnp.exe \U0001f600 \xff"
	for _, format := range []string{JSON, Text} {
		t.Run(format, func(t *testing.T) {
			var sink buffer
			log := open(t, &sink, "info", format)
			log.Info().Str("value", tricky).Msg("m")
			log.Close()
			if got := sink.String(); !isASCII([]byte(got)) || !strings.Contains(got, `\u202e`) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestEscapedJSONIsTheSameText(t *testing.T) {
	const text = "a\u202eb\U0001f600é"
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if err := json.Unmarshal(escape(quoted), &got); err != nil || got != text {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestRefusedSettings(t *testing.T) {
	for _, c := range []struct{ level, format, want string }{
		{"loud", JSON, `log level "loud"`},
		{"info", "xml", `log format "xml"`},
		{"", JSON, `log level ""`},
	} {
		if _, err := New(io.Discard, c.level, c.format); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%q, %q): %v, want %q", c.level, c.format, err, c.want)
		}
	}
}

// F41: standard error is a pipe that nobody reads.
func TestABlockedPipeNeverBlocksAWriter(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	log := open(t, writer, "info", JSON)
	line := strings.Repeat("x", 1000)
	start := time.Now()
	for range 10_000 {
		log.Info().Msg(line)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("10,000 lines took %v", took)
	}
	if log.Dropped() == 0 {
		t.Error("nothing was dropped: the queue has no bound")
	}
	start = time.Now()
	log.Close()
	if took := time.Since(start); took > 2*flushWait {
		t.Errorf("close took %v", took)
	}
	reader.Close() // lets the goroutine that is stuck in write(2) go
	<-log.queue.done
}

func TestLossIsSaidWhenWritingWorksAgain(t *testing.T) {
	sink := &buffer{err: errors.New("no space left on device")}
	log := open(t, sink, "info", JSON)
	log.Info().Msg("lost")
	for log.Dropped() == 0 {
		time.Sleep(time.Millisecond)
	}
	sink.fail(nil)
	time.Sleep(2 * pauseAfterError)
	log.Info().Msg("written")
	deadline := time.Now().Add(5 * time.Second)
	for !strings.Contains(sink.String(), "log lines dropped") && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	log.Close()
	if got := sink.String(); !strings.Contains(got, `"lines":1`) || !strings.Contains(got, `"written"`) || strings.Contains(got, `"lost"`) {
		t.Errorf("got %s", got)
	}
}

func TestLinesAfterCloseAreCounted(t *testing.T) {
	log := open(t, io.Discard, "info", JSON)
	log.Close()
	log.Info().Msg("late")
	if log.Dropped() != 1 {
		t.Errorf("dropped %d, want 1", log.Dropped())
	}
}

func BenchmarkLine(b *testing.B) {
	log, err := New(io.Discard, "info", JSON)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	b.ReportAllocs()
	for b.Loop() {
		log.Info().Str("name", "a.example").Int("bytes", 1000).Msg("connection")
	}
}

// A new level holds for loggers that were made before, but for those that have one of their own.
func TestRelevel(t *testing.T) {
	var sink buffer
	log := open(t, &sink, "warn", JSON)
	derived := log.With().Str("part", "x").Logger()
	own := log.Sample(nil).Level(zerolog.InfoLevel)
	derived.Info().Msg("below")
	own.Info().Msg("own")
	if err := log.Relevel("debug"); err != nil {
		t.Fatal(err)
	}
	derived.Debug().Msg("within")
	own.Debug().Msg("below its own")
	if err := log.Relevel("off"); err != nil {
		t.Fatal(err)
	}
	derived.Error().Msg("off")
	if err := log.Relevel("loud"); err == nil {
		t.Error("no such level")
	}
	log.Close()
	text := sink.String()
	for part, want := range map[string]bool{`"below"`: false, `"own"`: true, `"within"`: true, "below its own": false, `"off"`: false} {
		if strings.Contains(text, part) != want {
			t.Errorf("%s is in the log: %v, want %v\n%s", part, !want, want, text)
		}
	}
}
