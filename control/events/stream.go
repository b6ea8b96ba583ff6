package events

import (
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// writeTimeout bounds the wait for a client that does not read. Until then it may stop and go on, and loses what does not
// fit into its queue.
const writeTimeout = time.Minute

// ServeHTTP answers a GET with events as JSON, one a line as it happens, until the client leaves or the request's context
// is done. ?event= and ?name= choose some: see [ParseFilter]. There are no lines besides: on a quiet day there are none.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	filter, err := ParseFilter(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	subscription, err := h.Subscribe(filter)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	defer subscription.Close()
	controller := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	if controller.Flush() != nil { // the client knows that what happens from now on is told
		return
	}
	for event := range subscription.Events(r.Context()) {
		// In place of the server's, which is for answers that end. What can't have deadlines (a recorder in a test) can't
		// hang either.
		_ = controller.SetWriteDeadline(time.Now().Add(h.writeTimeout))
		if encode(w, event) != nil || controller.Flush() != nil {
			return
		}
	}
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// Its error is the connection's, and there is nobody left to tell.
	_ = encode(w, map[string]string{"result": "error", "reason": err.Error()})
}

// encode writes one line of JSON.
func encode(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
