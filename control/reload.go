package control

import (
	"errors"
	"fmt"
	"net/http"

	"hellogate/control/config"
)

// ReloadResult says what came of a reload.
type ReloadResult struct {
	Result        string   `json:"result"`          // "success"
	Changed       []string `json:"changed"`         // sections of the configuration that are in effect now
	AfterARestart []string `json:"after_a_restart"` // those that differ and are not: they need an upgrade, or a restart
}

// ReloadProblem is the answer to a reload of a file that is not in order.
type ReloadProblem struct {
	Problem
	Problems []FileProblem `json:"problems,omitempty"` // absent: it is not what the file says
}

// FileProblem is one thing that is wrong with a configuration file.
type FileProblem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // 0: none is to blame
	Column  int    `json:"column"` // in characters, from 1
	Path    string `json:"path"`   // of the setting
	Message string `json:"message"`
	Source  string `json:"source,omitempty"` // the line, without secrets
}

// FileProblems are the problems of an error that is config.Problems; none: it is another.
func FileProblems(err error) []FileProblem {
	problems, _ := errors.AsType[config.Problems](err)
	list := make([]FileProblem, len(problems))
	for i, p := range problems {
		list[i] = FileProblem{File: p.File, Line: p.Line, Column: p.Column, Path: p.Path, Message: p.Message, Source: p.Source}
	}
	return list
}

// problemsOf is the error that an answer tells of.
func (p ReloadProblem) problemsOf() (problems config.Problems) {
	for _, each := range p.Problems {
		problems = append(problems, config.Problem{
			File: each.File, Line: each.Line, Column: each.Column, Path: each.Path, Message: each.Message, Source: each.Source,
		})
	}
	return problems
}

// postReload has the configuration read again.
func (s *Server) postReload(w http.ResponseWriter, r *http.Request) {
	by(r, s.options.Log.Info()).Msg("control: reload")
	controller := patient(w)
	result, err := s.options.Reload()
	deadline(controller)
	if err == nil {
		answer(w, http.StatusOK, result)
		return
	}
	problem := ReloadProblem{Problem{Result: "error", Reason: err.Error()}, FileProblems(err)}
	if first := problem.problemsOf(); len(first) > 0 {
		problem.Reason = first[0].String()
		if len(first) > 1 {
			problem.Reason += fmt.Sprintf(" (and %s)", Numbered(len(first)-1, "more problem", "more problems"))
		}
	}
	answer(w, http.StatusUnprocessableEntity, problem)
}
