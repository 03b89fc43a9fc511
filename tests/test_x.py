def test_x():
    import plugins,sys; print(plugins, sys.path)
