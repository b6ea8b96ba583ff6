package permission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"hellogate/store"
)

func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		code int
		want meaning
	}{
		{200, yes},
		{201, yes},
		{204, yes},
		{206, yes},
		{299, yes},
		{300, failed},
		{301, failed},
		{302, failed},
		{303, failed},
		{304, failed},
		{307, failed},
		{308, failed},
		{400, no},
		{401, no},
		{403, no},
		{404, no},
		{410, no},
		{418, no},
		{451, no},
		{499, no},
		{408, failed},
		{425, failed},
		{429, failed},
		{500, failed},
		{502, failed},
		{503, failed},
		{504, failed},
		{600, failed},
	} {
		t.Run(fmt.Sprint(test.code), func(t *testing.T) {
			url, asked := serve(t, status(test.code, "Location", "/elsewhere"))
			p := open(t, Options{URL: url})
			for range 2 {
				err := p.Ask(t.Context(), name)
				if means(err) != test.want {
					t.Errorf("%v, want %s", err, test.want)
				}
				if test.want == failed {
					if _, ok := errors.AsType[*store.Failure](err); !ok || !strings.Contains(err.Error(), fmt.Sprint(test.code)) {
						t.Errorf("%v: no failure, or does not say %d", err, test.code)
					}
				}
			}
			want := int32(1)
			if test.want == failed {
				want = 2
			}
			if asked.Load() != want {
				t.Errorf("asked %d times, want %d", asked.Load(), want)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	url, _ := serve(t, status(http.StatusServiceUnavailable, "Retry-After", "7"))
	failure, ok := errors.AsType[*store.Failure](open(t, Options{URL: url}).Ask(t.Context(), name))
	if !ok || failure.RetryAfter != 7*time.Second || failure.Unreachable {
		t.Errorf("%+v", failure)
	}
}

// TestLifetime: what of an answer is remembered.
func TestLifetime(t *testing.T) {
	for _, test := range []struct {
		headers []string
		want    time.Duration
	}{
		{nil, time.Hour},
		{[]string{"Cache-Control", "max-age=10"}, 10 * time.Second},
		{[]string{"Cache-Control", "max-age=10, s-maxage=20"}, 20 * time.Second},
		{[]string{"Cache-Control", "max-age=10", "Age", "4"}, 6 * time.Second},
		{[]string{"Cache-Control", "max-age=10", "Age", "40"}, 0},
		{[]string{"Cache-Control", "max-age=0"}, 0},
		{[]string{"Cache-Control", "no-store, max-age=10"}, 0},
		{[]string{"Cache-Control", "no-cache, max-age=10"}, 0},
		{[]string{"Cache-Control", "private, max-age=10"}, 0},
		{[]string{"Cache-Control", "max-age=10000000"}, 24 * time.Hour},
		{[]string{"Cache-Control", "max-age=soon"}, time.Hour},
	} {
		t.Run(strings.Join(test.headers, " "), func(t *testing.T) {
			header := make(http.Header)
			for i := 0; i < len(test.headers); i += 2 {
				header.Add(test.headers[i], test.headers[i+1])
			}
			if got := lifetime(header, time.Hour); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// TestOneRequest: those who ask for one name at once share a request, which does not end with the one who began it.
func TestOneRequest(t *testing.T) {
	release := make(chan struct{})
	url, asked := serve(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
			t.Error("the request was cancelled")
		}
	})
	p := open(t, Options{URL: url, Timeout: 10 * time.Second})
	first, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- p.Ask(first, name) }()
	waitFor(t, func() bool { return asked.Load() == 1 })
	const others = 50
	results := make(chan error, others)
	for range others {
		go func() { results <- p.Ask(t.Context(), name) }()
	}
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnknown) {
		t.Errorf("who left got %v", err)
	}
	close(release)
	for range others {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}
