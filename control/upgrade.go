package control

import (
	"errors"
	"io"
	"net/http"
	"time"

	"hellogate/control/handover"
)

// upgradeTimeout is how long an upgrade may take until its answer is sent.
const upgradeTimeout = handover.DefaultTimeout + 15*time.Second

// UpgradeResult says which process has taken over.
type UpgradeResult struct {
	Result string `json:"result"` // "success"
	PID    int    `json:"pid"`
}

// postUpgrade has a new process take over, and answers when it has.
func (s *Server) postUpgrade(w http.ResponseWriter, r *http.Request) {
	by(r, s.options.Log.Info()).Msg("control: upgrade")
	patient(w).SetWriteDeadline(time.Now().Add(upgradeTimeout))
	// net/http sees that a client leaves when it has nothing more to read from it.
	_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, bodyBytes))
	pid, err := s.options.Upgrade(r.Context())
	switch {
	case errors.Is(err, handover.ErrBusy), errors.Is(err, handover.ErrDone):
		refuse(w, http.StatusConflict, err)
	case err != nil:
		refuse(w, http.StatusUnprocessableEntity, err)
	default:
		answer(w, http.StatusOK, UpgradeResult{Result: "success", PID: pid})
	}
}
