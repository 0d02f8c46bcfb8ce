package health

import (
	"context"
	"testing"
	"testing/synctest"

	"pdns-distribute/roles/page"
	"pdns-distribute/roles/roletest"
)

// What was begun for the page has ended when the role ends, and nothing is begun then.
func TestLooksEndWithTheRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newView(&Health{})
		ctx, end := context.WithCancel(t.Context())
		ended, goOn := make(chan struct{}), make(chan struct{})
		if !v.begin(func() { <-goOn }) {
			t.Fatal("nothing is begun")
		}
		go func() {
			defer close(ended)
			_ = v.run(ctx)
		}()
		end()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("the role has ended before what it began")
		default:
		}
		if _, err := v.Look(t.Context(), roletest.Named("late")); err != page.ErrBusy {
			t.Errorf("a zone is looked at while the role ends: %v", err)
		}
		close(goOn)
		<-ended
	})
}
