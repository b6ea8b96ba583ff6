package control

import (
	"fmt"

	"hellogate/breaker"
	"hellogate/cache"
)

// What reach returns besides the last step that the cache explains.
const (
	noPermission = "permission cut off"
	noStore      = "no store"
	storesOff    = "the store kept failing and is not asked"
)

// reach has the steps that lead out of the process say what breakers and the names of stores make of them: that of permission,
// and in place of the one of the stores one for each, in the order in which they are asked. It returns what decides.
func (s *Server) reach(explanation *Explanation) string {
	end := len(explanation.Steps) - 1
	if last := explanation.Steps[end]; last.Step != "store" || last.Result != cache.WouldBeAsked {
		return last.Step
	}
	if end > 0 && s.permissionOff(&explanation.Steps[end-1]) {
		explanation.Steps = explanation.Steps[:end]
		return noPermission
	}
	stores := s.storeList()
	if len(stores) == 0 {
		return "store"
	}
	explanation.Steps = explanation.Steps[:end]
	return walk(explanation, stores)
}

// permissionOff reports whether the step is that permission would be asked for, if it were not for the breaker.
func (s *Server) permissionOff(step *Step) bool {
	if s.options.Permission == nil || step.Step != "permission" || step.Result != cache.WouldBeAsked {
		return false
	}
	result, asked := guarded(storeOf(s.options.Permission.Status()), cache.WouldBeAsked)
	step.Result = result
	return !asked
}

// walk adds a step for each store.
func walk(explanation *Explanation, stores []Store) string {
	taken, asked := 0, 0
	for _, store := range stores {
		status := storeOf(store.Status())
		step := "store"
		if len(stores) > 1 {
			step += " " + status.Name
		}
		if !store.Takes(explanation.Name) {
			explanation.add(step, "is not asked for this name")
			continue
		}
		result, is := guarded(status, whenAsked(taken, asked))
		explanation.add(step, result)
		taken++
		asked += count(is)
	}
	switch {
	case taken == 0:
		return noStore
	case asked == 0:
		return storesOff
	}
	return "store"
}

// whenAsked says when a store is asked, of those before which so many take the name and so many would be asked for it.
func whenAsked(taken, asked int) string {
	switch {
	case asked > 0:
		return cache.WouldBeAsked + " if none before it has the name"
	case taken > 0:
		return cache.WouldBeAsked + " instead"
	}
	return cache.WouldBeAsked
}

// guarded says what a breaker makes of a request that would be made, and whether it is.
func guarded(status StoreStatus, would string) (result string, asked bool) {
	switch status.Breaker {
	case breaker.Open.String():
		result = fmt.Sprintf("would not be asked: breaker open, retry in %ds", status.RetryIn)
		if status.LastError != "" {
			result += "; it failed last with: " + status.LastError
		}
		return result, false
	case breaker.HalfOpen.String():
		return would + ", unless another request probes it just now: breaker half open", true
	}
	return would, true
}
